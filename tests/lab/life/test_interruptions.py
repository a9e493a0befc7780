"""Every command that changes something is killed with all it started, then given again: nothing is lost or left over.

The moment is what a command says that it does, so it is the same on slow machines and fast ones.
Others are killed elsewhere: `up` in lab/e2e/test_kill, `destroy` in lab/e2e/test_alpha, `node replace` and `restore` in test_life,
`upgrade apply` in test_upgrades, `proxmox prepare` after every one of its calls in ops/test_prepare.
"""

from collections.abc import Iterator, Sequence

import pytest

from tests.lab.life import canary
from tests.support.project import Project

pytestmark = pytest.mark.lab

TWO = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
FOUR = (*TWO, "gpu-3", "gpu-4")


@pytest.fixture(scope="module", autouse=True)
def _four_workers(campus: Project) -> None:
    campus.lyceum("up", "dev", "--stage", "alpha2", "--yes")
    canary.deploy(campus)


@pytest.fixture(autouse=True)
def _canary_survives(campus: Project) -> Iterator[None]:
    yield
    canary.assert_running(campus)


def killed_and_repeated(campus: Project, moments: Sequence[str], *words: str) -> None:
    """Kills a command at one point after the other, each time starting it again, and finally lets it end."""
    campus.killed_at_each(moments, *words)
    campus.lyceum(*words)


def test_a_drain_goes_on(campus: Project) -> None:
    killed_and_repeated(campus, ["drain gpu-4"], "node", "drain", "dev", "gpu-4")
    nodes = {node["metadata"]["name"]: node for node in campus.objects("nodes")}
    assert nodes["gpu-4"]["spec"]["unschedulable"]
    campus.lyceum("node", "drain", "dev", "gpu-4", "--undo")


def test_a_removal_goes_on_whether_node_machine_or_state_is_gone(campus: Project, *, all_stages: bool) -> None:
    """In any run: with the machine still there, and with the node gone."""
    moments = (
        "gpu-4: cordon",
        "purge its OSDs …",
        "shut down the VM …",
        "delete the Node …",
        "gpu-4-vm deleting",
    )
    killed_and_repeated(campus, moments if all_stages else (moments[1], moments[-1]), "node", "remove", "dev", "gpu-4")
    canary.assert_consistent(campus, *TWO, "gpu-3")
    assert "gpu-4: removed already" in campus.lyceum("node", "remove", "dev", "gpu-4"), (
        "said once more, it changes nothing"
    )


def test_an_addition_goes_on_whether_machine_or_node_is_half_there(campus: Project) -> None:
    killed_and_repeated(campus, ("gpu-4-vm creating", "gpu-4-k3s creating"), "node", "add", "dev", "gpu-4")
    canary.assert_consistent(campus, *FOUR)


def test_a_backup_that_is_cut_is_none_and_the_next_one_is_whole(campus: Project) -> None:
    killed_and_repeated(campus, ["snapshot on"], "backup", "now", "dev")
    assert "intact" in campus.lyceum("backup", "verify", "dev")


def test_a_machine_that_somebody_deleted_in_proxmox_is_reported_and_created_again_on_request(campus: Project) -> None:
    """P9, with a kill in the middle."""
    campus.lyceum("lab", "faults", "power-fail", "gpu-3")
    campus.proxmox("DELETE", "gpu-3")
    canary.wait_until(lambda: "gpu-3" not in campus.machines(), "Proxmox has deleted it")
    reported = campus.lyceum("up", "dev", "--yes")
    assert "gpu-3: was deleted in Proxmox (VM" in reported and "./lyceum node replace dev gpu-3" in reported
    assert "gpu-3" not in campus.machines(), "nothing is created again without being asked"

    killed_and_repeated(campus, ("gpu-3-vm creating",), "node", "replace", "dev", "gpu-3")
    canary.assert_consistent(campus, *FOUR)


def test_machines_that_leave_by_the_stage_go_on_leaving_by_the_same_words(campus: Project) -> None:
    """Also when one of the two is gone already: its word is still right."""
    words = ("up", "dev", "--stage", "alpha", "--yes", "--remove", "gpu-3", "--remove", "gpu-4")
    campus.killed_at_each(("delete the Node …", "-vm deleting"), *words)
    # One of the two is deleted; or both were, by Proxmox alone, and there is nothing left to kill.
    campus.killed_at("-vm deleted", *words)
    campus.lyceum(*words)
    canary.assert_consistent(campus, *TWO)
    assert "removed already" in campus.lyceum(*words)
