"""HTTP and its rules: signing in, envelopes, odd paths, unknown calls."""

import pytest

from lab.request_log import redact
from tests.lab.proxmox.campus import IMAGE, Campus, Refused, image_call

pytestmark = pytest.mark.anyio

STORE = "nodes/pve1/storage/local"


async def test_an_unknown_call_is_refused_by_name(campus: Campus) -> None:
    """So that a newer provider that needs more fails loudly instead of strangely."""
    with pytest.raises(Refused, match="501 Method 'PUT /nodes/pve1/qemu/100/teapot' not implemented"):
        await campus.token.put("nodes/pve1/qemu/100/teapot")


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        ({}, "401 No ticket"),
        ({"Authorization": "PVEAPIToken=lyceum@pve!lyceum=00000000-0000"}, "401 invalid token value!"),
        ({"Authorization": "PVEAPIToken=lyceum@pve!other=00000000-0000"}, "401 no such token 'other'"),
        ({"Cookie": "PVEAuthCookie=made-up"}, "401 No ticket"),
    ],
)
async def test_nobody_gets_in_without_a_valid_token_or_ticket(
    campus: Campus, header: dict[str, str], refusal: str
) -> None:
    campus.anonymous.http.headers.update(header)
    with pytest.raises(Refused, match=refusal):
        await campus.anonymous.get("version")


async def test_a_wrong_password_gets_no_ticket(campus: Campus) -> None:
    with pytest.raises(Refused, match="401 authentication failure"):
        await campus.anonymous.post("access/ticket", username="root@pam", password="guess")


async def test_a_ticket_needs_its_csrf_token_for_changes(campus: Campus) -> None:
    root = await campus.root()
    del root.http.headers["CSRFPreventionToken"]
    assert await root.get("version")
    with pytest.raises(Refused, match="401 Permission denied - invalid csrf token"):
        await root.post("pools", poolid="x")


async def test_a_disabled_user_is_locked_out_with_his_tokens(campus: Campus) -> None:
    campus.px.cluster.state.users["lyceum@pve"].enable = False
    with pytest.raises(Refused, match="401"):
        await campus.token.get("version")


async def test_a_token_cannot_mint_another(campus: Campus) -> None:
    with pytest.raises(Refused, match="403"):
        await campus.token.post("access/users/lyceum@pve/token/more")


async def test_answers_come_in_an_envelope_and_refusals_name_their_fields(campus: Campus) -> None:
    root = await campus.root()
    answer = await root.http.post("/api2/json/access/roles", data={"roleid": "X", "privs": "VM.Monitor"})
    assert answer.status_code == 400
    assert answer.json() == {
        "data": None,
        "message": "Parameter verification failed.\n",
        "errors": {"privs": "invalid privilege 'VM.Monitor'"},
    }


async def test_volume_names_arrive_percent_encoded(campus: Campus) -> None:
    assert await campus.token.task("POST", f"{STORE}/download-url", **image_call()) == "OK"

    volume = await campus.token.get(f"{STORE}/content/local:import%2Fdebian-13.qcow2")

    assert (volume["format"], volume["size"]) == ("qcow2", len(IMAGE))


async def test_an_image_is_downloaded_once_and_only_with_the_right_checksum(campus: Campus) -> None:
    wrong = image_call() | {"checksum": "0" * 64}
    assert "checksum mismatch: got" in await campus.token.task("POST", f"{STORE}/download-url", **wrong)
    assert await campus.token.get(f"{STORE}/content") == []

    assert await campus.token.task("POST", f"{STORE}/download-url", **image_call()) == "OK"
    with pytest.raises(Refused, match=r"refusing to override existing file 'debian-13\.qcow2'"):
        await campus.token.post(f"{STORE}/download-url", **image_call())


@pytest.mark.parametrize(
    ("storage", "changes", "refusal"),
    [
        ("local-lvm", {}, "can't upload to storage type 'lvmthin', not a file based storage!"),
        ("local", {"content": "snippets"}, "upload content type 'snippets' not allowed"),
        ("local", {"filename": "image.exe"}, "invalid filename or wrong extension"),
        ("local", {"url": "file:///etc/shadow"}, "does not match the regex pattern"),
    ],
)
async def test_a_download_that_makes_no_sense_is_refused(
    campus: Campus, storage: str, changes: dict[str, str], refusal: str
) -> None:
    root = await campus.root()
    with pytest.raises(Refused, match=refusal):
        await root.post(f"nodes/pve1/storage/{storage}/download-url", **(image_call() | changes))


async def test_a_node_that_does_not_exist_is_named(campus: Campus) -> None:
    root = await campus.root()
    with pytest.raises(Refused, match="hostname lookup 'pve9' failed"):
        await root.get("nodes/pve9/status")


async def test_network_answers_keep_the_types_that_the_provider_reads(campus: Campus) -> None:
    root = await campus.root()
    cards = {card["iface"]: card for card in await root.get("nodes/pve1/network")}

    assert cards["vmbr0"]["autostart"] == 1, "a number, or reading fails"
    assert cards["vmbr0"]["cidr"] == "10.21.0.11/16"


async def test_a_taken_number_is_refused(campus: Campus) -> None:
    await campus.token.vm(100)
    assert await campus.token.get("cluster/nextid", vmid=250) == "250"
    with pytest.raises(Refused, match="VM 100 already exists"):
        await campus.token.get("cluster/nextid", vmid=100)


async def test_tasks_are_listed_for_their_owner_and_for_auditors(campus: Campus) -> None:
    root = await campus.root()
    await root.task("POST", "nodes/pve1/qemu", vmid=900)
    await campus.token.vm(100)
    everything = await campus.token.get("nodes/pve1/tasks")  # its role holds Sys.Audit on the node
    assert [task["id"] for task in everything] == ["100", "900"], "newest first"
    campus.px.cluster.state.roles["LyceumNode"].remove("Sys.Audit")
    assert [task["id"] for task in await campus.token.get("nodes/pve1/tasks")] == ["100"]


def test_logged_parameters_hold_no_secret() -> None:
    given = {
        "password": ["p"],
        "cipassword": ["c"],
        "url": ["https://me:pw@mirror/image?sig=abc"],
        "sshkeys": ["ssh-ed25519 AAAA"],
        "map": ["a", "b"],
    }
    assert redact(given) == {
        "password": "***",
        "cipassword": "***",
        "url": "https://***@mirror/image?***",
        "sshkeys": "ssh-ed25519 AAAA",
        "map": ["a", "b"],
    }
