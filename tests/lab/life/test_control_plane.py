"""The control plane's own life: three servers become five and three again, tokens are rotated meanwhile.

Told in order; a canary must outlive all of it.
"""

import json
import re

import pytest

from config.tokens import TokenKind, derive_token
from tests.lab.life import canary
from tests.lab.life.conftest import edit_site
from tests.support import api_gap, sentinels
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("canary_survives")]

THREE = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
FIVE = ("server-1", "server-2", "server-3", "server-4", "server-5", "gpu-1", "gpu-2")
FAILED, REFUSED = 1, 3


def with_servers(campus: Project, count: int) -> None:
    """Writes a site's file with three servers and so many more."""
    with edit_site(campus) as site:
        site["nodes"] = [group for group in site["nodes"] if group["name"] not in {"server-4", "server-5"}]
        for number in range(4, count + 1):
            place = {"host": f"pve{number % 2 + 1}", "address": f"10.21.0.3{number}"}
            site["nodes"].append({"name": f"server-{number}", "role": "server", "shape": "server", **place})


def starts(campus: Project) -> dict[str, int]:
    """How often K3s was started on each machine that has the power on."""
    found = {}
    for machine in json.loads(campus.lyceum("lab", "status", "--json"))["machines"]:
        logs = campus.run / "hosts" / str(machine["vmid"]) / "upper/var/log/units"
        text = "".join(log.read_text() for log in logs.glob("k3s*.log"))
        found[machine["name"]] = len(re.findall(r"Starting k3s (agent )?v", text))
    return found


def stack_file(campus: Project) -> str:
    return (campus.path / "Pulumi.dev.yaml").read_text()


def seed(campus: Project) -> str:
    return (campus.run / "seed").read_text().strip()


def test_an_even_number_of_servers_is_refused(campus: Project) -> None:
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
    with_servers(campus, 4)

    assert "has 4 servers; etcd needs 1, 3 or 5" in campus.lyceum("up", "dev", "--yes", code=FAILED)
    canary.assert_consistent(campus, *THREE)


@pytest.mark.strict  # only the restore at the end, which is strict as well, needs it
def test_a_backup_is_taken_before_the_rotations(campus: Project) -> None:
    with_servers(campus, 3)
    campus.lyceum("backup", "now", "dev", "--to", str(campus.path / "old"))

    assert len(list((campus.path / "old").glob("*.db"))) == 1


def test_three_servers_become_five_and_nothing_that_exists_is_touched(campus: Project) -> None:
    with_servers(campus, 5)
    machines, started = campus.machines(), starts(campus)
    with api_gap.watched(campus) as api:
        text = campus.lyceum("up", "dev", "--yes")

    canary.assert_consistent(campus, *FIVE)
    assert api["gap"] < api_gap.PAUSE
    assert " replaced" not in text
    assert {name: campus.machines()[name] for name in machines} == machines
    assert {name: starts(campus)[name] for name in started} == started, "a running K3s must not be restarted"


@pytest.mark.strict  # test_life replaces servers; the API is watched while servers join and leave, before and after
def test_one_of_five_servers_is_replaced(campus: Project) -> None:
    before = campus.machines()["server-2"]
    with api_gap.watched(campus) as api:
        campus.lyceum("node", "replace", "dev", "server-2")

    canary.assert_consistent(campus, *FIVE)
    assert campus.machines()["server-2"] != before
    assert api["gap"] < api_gap.PAUSE


def test_four_servers_would_survive_no_more_than_three(campus: Project) -> None:
    text = campus.lyceum("node", "remove", "dev", "server-5", code=REFUSED)

    assert "4 servers tolerate no more failures than 3" in text
    canary.assert_consistent(campus, *FIVE)


def test_a_rotation_that_is_killed_keeps_everything_else_waiting_and_says_how_to_go_on(campus: Project) -> None:
    # By then K3s has changed the token, and no file on any machine has it yet.
    campus.kill_when("the new server-token to", "secrets", "rotate", "lab", "server-token")

    assert "rotating: server-token" in stack_file(campus)
    for command in (
        ["up", "dev", "--yes"],
        ["node", "replace", "dev", "server-1"],
        ["secrets", "rotate", "lab", "agent-token"],
    ):
        text = campus.lyceum(*command, code=REFUSED)
        assert "the rotation of the server-token is not finished" in text
        assert "./lyceum secrets rotate lab server-token" in text
    assert "rotation of the server-token is not finished" in campus.status()["tokens"]


def test_the_same_command_finishes_it_and_shows_no_token(campus: Project) -> None:
    old, new = (derive_token(seed(campus), TokenKind.SERVER, generation) for generation in (1, 2))
    with sentinels.watched_arguments({"old token": old, "new token": new}) as seen:
        text = campus.lyceum("secrets", "rotate", "lab", "server-token")

    canary.assert_consistent(campus, *FIVE)
    assert campus.status()["tokens"] == "server token generation 2, agent token generation 1"
    assert {one for one in seen if "token\0rotate" not in one} == set(), "K3s's own command alone takes one as argument"
    for where, content in (
        ("output", text),
        ("state", json.dumps(campus.state())),
        ("stack's file", stack_file(campus)),
    ):
        assert old not in content, f"the old token is in the {where}"
        assert new not in content, f"the new token is in the {where}"


def test_every_server_starts_with_the_new_token(campus: Project) -> None:
    """What a forgotten file or copy would show at the next power failure."""
    for name in ("server-1", "server-3", "server-5"):
        campus.lyceum("lab", "ssh", name, "--", "sudo", "systemctl", "restart", "k3s")
        canary.wait_until_healthy(campus, f"{name} is back")

    canary.assert_consistent(campus, *FIVE)


def test_after_a_rotation_up_has_nothing_to_do(campus: Project) -> None:
    started = starts(campus)
    text = campus.lyceum("up", "dev", "--yes")

    assert " updated" not in text
    assert " replaced" not in text
    assert starts(campus) == started


def test_five_servers_become_three_one_after_the_other(campus: Project) -> None:
    with_servers(campus, 3)
    assert "--remove server-4 --remove server-5" in campus.lyceum("up", "dev", "--yes", code=REFUSED)
    with api_gap.watched(campus) as api:
        text = campus.lyceum("up", "dev", "--yes", "--remove", "server-4", "--remove", "server-5")

    canary.assert_consistent(campus, *THREE)
    assert "etcd has 5 members and needs 3; server-4 is removed next" in text
    assert "etcd has 4 members and needs 3; server-5 is removed next" in text
    assert api["gap"] < api_gap.PAUSE


def test_another_agent_token_reaches_servers_and_agents(campus: Project) -> None:
    with api_gap.watched(campus) as api:
        campus.lyceum("secrets", "rotate", "lab", "agent-token")

    canary.assert_consistent(campus, *THREE)
    assert campus.status()["tokens"] == "server token generation 2, agent token generation 3"
    assert api["gap"] < api_gap.PAUSE
    for name in ("server-1", "gpu-1"):
        unit = "k3s" if name.startswith("server") else "k3s-agent"
        campus.lyceum("lab", "ssh", name, "--", "sudo", "systemctl", "restart", unit)
    canary.wait_until_healthy(campus, "a second start is not refused (rke2#5785)")


def test_a_token_that_was_changed_by_hand_is_refused_before_k3s_sees_it(campus: Project) -> None:
    kept = stack_file(campus)
    (campus.path / "Pulumi.dev.yaml").write_text(kept.replace("server-token: 2", "server-token: 1"))
    try:
        text = campus.lyceum("up", "dev", "--yes", code=FAILED)
    finally:
        (campus.path / "Pulumi.dev.yaml").write_text(kept)

    assert "the server-token is another one than K3s runs with here; nothing was changed" in text
    assert "./lyceum secrets rotate SITE server-token" in text
    assert "old snapshots need the old one" in text
    canary.assert_consistent(campus, *THREE)


@pytest.mark.strict  # ops/backup/test_metadata finds the generation of a backup; test_life restores one
def test_a_backup_from_before_the_rotations_is_opened_by_the_token_of_its_time(campus: Project) -> None:
    (old,) = (campus.path / "old").glob("*.db")
    restore = ["restore", "dev", "--from", str(old)]
    assert "it needs generation 1 of the server token" in campus.lyceum(*restore, "--dry-run")
    campus.lyceum(*restore, "--yes-restore", "lab")

    canary.assert_consistent(campus, *THREE)
    assert campus.status()["tokens"] == "server token generation 1, agent token generation 3"
    for name, unit in (("server-1", "k3s"), ("gpu-1", "k3s-agent")):
        campus.lyceum("lab", "ssh", name, "--", "sudo", "systemctl", "restart", unit)
        canary.wait_until_healthy(campus, f"{name} is back")


@pytest.mark.strict  # config/test_tokens counts generations; rotations are told above
def test_the_rotation_after_that_goes_to_a_generation_that_never_was(campus: Project) -> None:
    campus.lyceum("secrets", "rotate", "lab", "server-token")

    canary.assert_consistent(campus, *THREE)
    assert campus.status()["tokens"] == "server token generation 4, agent token generation 3"
    text = campus.lyceum("up", "dev", "--yes")
    assert " updated" not in text
    assert " replaced" not in text
