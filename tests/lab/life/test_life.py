"""The life of nodes and of a cluster, as its administrator lives it. Told in order; a canary must outlive all of it.

Fault matrix: N3, N4, N6, Q1, Q4, Q6, D2, U1, U2, O2.
"""

import json
import time

import pytest

from tests.lab.life import canary
from tests.lab.life.conftest import change_site
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("canary_survives")]

SERVERS = ("server-1", "server-2", "server-3")
TWO, FOUR = (*SERVERS, "gpu-1", "gpu-2"), (*SERVERS, "gpu-1", "gpu-2", "gpu-3", "gpu-4")
REFUSED = 3
NEXT = "v1.36.5+k3s1"
KILLED_AFTER = (5.0, 12.0, 25.0)
"""Seconds: before, in the middle of and after the node's removal from the cluster."""
RESTORE_CUT = ("server-1-vm deleting", "server-1-k3s creating", "server-2-k3s creating")
"""What a restore prints when it is killed: old machines go, the snapshot is put back, the others join."""


def plug(campus: Project, *names: str) -> None:
    """Pulls the plug of machines."""
    for name in names:
        campus.lyceum("lab", "faults", "power-fail", name)


def power(campus: Project, *names: str) -> None:
    """Switches machines on again through Proxmox, as somebody does at the hypervisor."""
    for name in names:
        campus.proxmox("POST", name, "/status/start")


def journal(campus: Project) -> list[dict[str, object]]:
    return [json.loads(line) for line in (campus.path / ".lyceum" / "journal.jsonl").read_text().splitlines()]


def test_two_workers_become_four(campus: Project) -> None:
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
    campus.lyceum("up", "dev", "--stage", "alpha2", "--yes")

    canary.assert_consistent(campus, *FOUR)


def test_going_back_without_the_word_is_refused_and_names_it(campus: Project) -> None:
    text = campus.lyceum("up", "dev", "--stage", "alpha", "--yes", code=REFUSED)

    assert "--remove gpu-3 --remove gpu-4" in text
    canary.assert_consistent(campus, *FOUR)


def test_a_worker_with_work_on_it_stays_and_says_whose(campus: Project) -> None:
    pod = {**canary._POD, "nodeName": "gpu-4", "restartPolicy": "Never"}
    notebook = {"name": "jupyter-ada", "namespace": "canary", "annotations": {"hub.jupyter.org/username": "ada"}}
    canary.apply(campus, {"apiVersion": "v1", "kind": "Pod", "metadata": notebook, "spec": pod})
    text = campus.lyceum("node", "remove", "dev", "gpu-4", code=REFUSED)

    assert "work runs on it: canary/jupyter-ada (of ada)" in text
    assert "--force jobs" in text
    campus.kubectl("-n", "canary", "delete", "pod", "jupyter-ada")


def test_a_worker_is_replaced_under_its_name(campus: Project) -> None:
    before = campus.machines()["gpu-3"]
    campus.lyceum("node", "replace", "dev", "gpu-3")

    canary.assert_consistent(campus, *FOUR)
    assert campus.machines()["gpu-3"] != before, "the machine must be another one"


def test_four_workers_become_two_again(campus: Project) -> None:
    campus.lyceum("up", "dev", "--stage", "alpha", "--remove", "gpu-3", "--remove", "gpu-4", "--yes")

    canary.assert_consistent(campus, *TWO)
    assert journal(campus)[-1]["nodes"] == ["gpu-3", "gpu-4"], "the word is on record"


def test_a_worker_whose_copies_have_nowhere_to_go_stays(campus: Project) -> None:
    text = campus.lyceum("node", "remove", "dev", "gpu-2", code=REFUSED)

    assert "a pool keeps 2 replicas on different nodes, and 1 would remain" in text
    canary.assert_consistent(campus, *TWO)


def test_the_first_server_is_replaced_as_any_other(campus: Project) -> None:
    campus.lyceum("node", "replace", "dev", "server-1")

    canary.assert_consistent(campus, *TWO)


def test_a_replacement_that_is_killed_is_finished_by_the_next_run(campus: Project, *, all_stages: bool) -> None:
    """The engine itself may go on for a while without its parent."""
    for moment in KILLED_AFTER if all_stages else KILLED_AFTER[1:2]:
        process = campus.start("node", "replace", "dev", "server-2")
        time.sleep(moment)
        process.kill()
        process.wait()

    campus.lyceum("node", "replace", "dev", "server-2")

    canary.assert_consistent(campus, *TWO)
    assert [entry["operation"] for entry in journal(campus)][-1] == "replaced"


def test_with_a_server_dead_nothing_else_takes_quorum_away(campus: Project) -> None:
    change_site(campus, {"k3s": {"version": NEXT}})
    plug(campus, "server-3")
    canary.wait_until(
        lambda: "etcd members" in campus.lyceum("upgrade", "plan", "dev", code=REFUSED), "the dead server is seen"
    )

    text = campus.lyceum("upgrade", "apply", "dev", code=REFUSED)
    assert "2/3 etcd members are healthy (server-3 not)" in text
    text = campus.lyceum("node", "replace", "dev", "server-2", code=REFUSED)
    assert "first repair or replace server-3" in text


def test_up_leaves_an_upgrade_to_the_upgrade(campus: Project) -> None:
    assert "./lyceum upgrade apply dev" in campus.lyceum("up", "dev", "--yes", code=REFUSED)


def test_a_dead_server_is_replaced_while_the_cluster_goes_on(campus: Project) -> None:
    change_site(campus, {"k3s": {"version": "v1.36.4+k3s1"}})
    campus.lyceum("node", "replace", "dev", "server-3")

    canary.assert_consistent(campus, *TWO)


@pytest.mark.strict  # test_upgrades upgrades K3s, killed on its way
def test_servers_and_agents_are_upgraded_one_release(campus: Project) -> None:
    change_site(campus, {"k3s": {"version": NEXT}})
    campus.lyceum("upgrade", "apply", "dev")

    canary.assert_consistent(campus, *TWO)
    versions = {node["status"]["nodeInfo"]["kubeletVersion"] for node in campus.objects("nodes")}
    assert versions == {NEXT}


def test_after_a_power_failure_of_everything_the_cluster_comes_back(campus: Project) -> None:
    plug(campus, *TWO)
    power(campus, *TWO)

    canary.wait_until_healthy(campus, "everything is ready again")
    canary.assert_consistent(campus, *TWO)


def test_after_the_loss_of_all_servers_a_backup_brings_everything_back(campus: Project, *, all_stages: bool) -> None:
    departed = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-9"}}
    canary.apply(campus, departed)
    campus.lyceum("backup", "now", "dev")
    campus.kubectl("delete", "node", "gpu-9")
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": "canary"}}
    canary.apply(campus, late)
    plug(campus, *SERVERS)
    assert "nothing was changed" in campus.lyceum("restore", "dev", "--dry-run")
    assert "--yes-restore lab" in campus.lyceum("restore", "dev", code=REFUSED)

    campus.killed_at_each(RESTORE_CUT if all_stages else RESTORE_CUT[1:2], "restore", "dev", "--yes-restore", "lab")
    campus.lyceum("restore", "dev", "--yes-restore", "lab")

    canary.assert_consistent(campus, *TWO)
    names = [item["metadata"]["name"] for item in campus.objects("configmaps", "--namespace", "canary")]
    assert "late" not in names, "what happened after the backup is forgotten, as was said"


def test_with_another_seed_a_backup_is_refused_up_front(campus: Project) -> None:
    seed = campus.run / "seed"
    own = seed.read_text()
    seed.write_text("00" * 32)
    try:
        text = campus.lyceum("restore", "dev", "--yes-restore", "lab", code=REFUSED)
    finally:
        seed.write_text(own)

    assert "token missing: snapshot unusable" in text
    canary.assert_consistent(campus, *TWO)


def test_afterwards_there_is_nothing_left_to_do(campus: Project) -> None:
    text = campus.lyceum("up", "dev", "--yes")

    assert " replaced" not in text
    assert " deleted" not in text
    canary.assert_consistent(campus, *TWO)
