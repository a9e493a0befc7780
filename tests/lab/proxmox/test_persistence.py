"""The campus dies and comes back: what is kept, what boots, what is cleaned up; and who may read the files."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from lab.proxmox.tasks import Timing
from tests.lab.proxmox.campus import GPUS, Refused, make_setup, make_spec, running

pytestmark = pytest.mark.anyio

QEMU = "nodes/pve1/qemu"


async def test_machines_disks_and_the_token_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as campus:
        await campus.token.vm(scsi0="local-lvm:32", tags="a")
        before = await campus.token.get(f"{QEMU}/100/config")
        token = (tmp_path / "proxmox-token").read_text()

    async with running(tmp_path) as campus:
        assert (tmp_path / "proxmox-token").read_text() == token
        assert await campus.token.get(f"{QEMU}/100/config") == before


async def test_machines_with_onboot_boot_again_and_others_stay_off(tmp_path: Path) -> None:
    async with running(tmp_path) as campus:
        await campus.token.vm(100, onboot=1, machine="q35", hostpci0="mapping=a100-0,pcie=1")
        await campus.token.vm(101)
        for vmid in (100, 101):
            await campus.token.task("POST", f"{QEMU}/{vmid}/status/start")

    async with running(tmp_path) as campus:
        await campus.px.cluster.tasks.wait_until_idle()
        assert list(campus.hypervisor.machines) == [100]
        assert [gpu.address for gpu in campus.hypervisor.machines[100].gpus] == ["0000:41:00.0"]
        assert (await campus.token.get(f"{QEMU}/101/status/current"))["status"] == "stopped"


async def test_a_creation_that_died_with_the_campus_leaves_its_number_free(tmp_path: Path) -> None:
    """On a real node the lock would stay until `qm unlock`; nobody could type that here."""
    async with running(tmp_path, timing=Timing(durations={"qmcreate": 60}, linger=0)) as campus:
        upid = await campus.token.post(QEMU, vmid=100, pool="lyceum", scsi0="local-lvm:1")
        await asyncio.sleep(0)
        saved = (tmp_path / "pve" / "state.json").read_bytes()
        assert json.loads(saved)["vms"]["100"]["lock"] == "create"
    (tmp_path / "pve" / "state.json").write_bytes(saved)  # as a kill would have left it

    async with running(tmp_path) as campus:
        assert (await campus.token.get(f"nodes/pve1/tasks/{upid}/status"))["exitstatus"] == "unexpected status"
        await campus.token.vm(100)


async def test_a_lost_token_is_issued_again(tmp_path: Path) -> None:
    async with running(tmp_path):
        old = (tmp_path / "proxmox-token").read_text()
    (tmp_path / "proxmox-token").unlink()

    async with running(tmp_path) as campus:
        assert await campus.token.get("version")
        with pytest.raises(Refused, match="401 invalid token value!"):
            await campus.as_token(old).get("version")


async def test_a_site_that_gained_a_device_gets_its_mapping_at_the_next_start(tmp_path: Path) -> None:
    first = make_spec(setup=make_setup({"gpus": GPUS[:1]}))
    async with running(tmp_path, first):
        pass
    async with running(tmp_path, make_spec(setup=make_setup({"gpus": GPUS}))) as campus:
        (mapping,) = await campus.token.get("cluster/mapping/pci", check__node="pve1")
    assert len(mapping["map"]) == 2
    assert mapping["checks"] == []


async def test_secrets_are_readable_by_their_owner_only_and_never_written_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as campus:
        root = await campus.root()
        await root.post("access/users", userid="ada@pve", password="canary-of-ada")
        await campus.token.vm(cipassword="canary-of-ci")
        secrets = ["canary", campus.px.root_password, (tmp_path / "proxmox-token").read_text().partition("=")[2]]

    for name in ("proxmox-token", "root-password", "pve/state.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    log = (tmp_path / "log" / "proxmox-requests.jsonl").read_text()
    state = (tmp_path / "pve" / "state.json").read_text().replace("canary-of-ci", "")
    assert not [secret for secret in secrets if secret in log + state]
    assert '"path":"access/users"' in log, "the log must hold the call that carried the secret"


async def test_the_request_log_says_who_asked_for_what_and_how_it_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as campus:
        await campus.token.task("POST", QEMU, vmid=100, pool="lyceum")
        with pytest.raises(Refused):
            await campus.token.get("nodes/pve1/teapot")
    created, unknown = [
        json.loads(line) for line in (tmp_path / "log" / "proxmox-requests.jsonl").read_text().splitlines()
    ]

    assert created["user"] == "lyceum@pve!lyceum"
    assert (created["method"], created["path"], created["status"]) == ("POST", QEMU, 200)
    assert created["params"] == {"vmid": "100", "pool": "lyceum"}
    assert created["outcome"].startswith("UPID:pve1:")
    assert (unknown["status"], unknown["outcome"]) == (501, "Method 'GET /nodes/pve1/teapot' not implemented")
