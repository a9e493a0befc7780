"""What goes wrong while somebody works on a running cluster: commands are killed, a cable is cut, servers die.

A killed command is given again: nothing is lost or left over. The moment is what a command says that it does, so it is
the same on slow machines and fast ones. Others are killed elsewhere: `up` in lab/e2e/test_kill, `destroy` in
lab/e2e/test_alpha, `node replace` and `restore` in test_life, `upgrade apply` and `certificates --renew` in
test_upgrades, `proxmox prepare` after every one of its calls in ops/test_prepare.

Fault matrix: E2, E5, P9, S4, Q1, Q5, V2.
"""

import base64
import json
import os
import re
import signal
from collections.abc import Sequence

import pytest

from ops.clients import etcd
from tests.lab.life import canary
from tests.lab.life.conftest import change_site
from tests.support.project import MINUTES, Project, until_it_prints

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("canary_survives")]

NODES = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
FOUR = (*NODES, "gpu-3", "gpu-4")
API = "10.21.0.30"
REFUSED = 3
JOINS = "gpu-1-k3s updating"
SLOWLY = r"[Service]\nExecStartPre=/bin/sleep 20\n"
DROP_IN = "/etc/systemd/system/k3s-agent.service.d"


def on(campus: Project, machine: str, script: str) -> str:
    """Runs a script as a machine's root; encoded, because two shells lie between."""
    encoded = base64.b64encode(f"set -e\n{script}".encode()).decode()
    return campus.lyceum("lab", "ssh", machine, f"echo {encoded} | base64 -d | sudo bash -s")


def answers(campus: Project) -> bool:
    """Whether the API answers at its address."""
    there = f"--server=https://{API}:6443"
    process = campus.start("lab", "kubectl", "--", "get", "--raw", "/readyz", "--request-timeout=5s", there)
    process.communicate(timeout=5 * MINUTES)
    return process.returncode == 0


def let_gpu_1_join_again(campus: Project, time: int) -> None:
    """The next `up` runs every node's script again, and K3s on gpu-1 restarts."""
    change_site(campus, {"k3s": {"sha256": f"{time:064x}"}})
    on(campus, "gpu-1", "touch /run/lyceum-restart-k3s")


@pytest.fixture(scope="module", autouse=True)
def _four_workers(campus: Project) -> None:
    campus.lyceum("up", "dev", "--stage", "alpha2", "--yes")
    canary.deploy(campus)


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
    canary.assert_consistent(campus, *NODES, "gpu-3")
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


def test_machines_that_leave_by_the_stage_go_on_leaving_by_the_same_words(campus: Project, *, all_stages: bool) -> None:
    """Also when one of the two is gone already: its word is still right."""
    words = ("up", "dev", "--stage", "alpha", "--yes", "--remove", "gpu-3", "--remove", "gpu-4")
    moments = ("delete the Node …", "-vm deleting")
    campus.killed_at_each(moments if all_stages else moments[1:], *words)
    # One of the two is deleted; or both were, by Proxmox alone, and there is nothing left to kill.
    campus.killed_at("-vm deleted", *words)
    campus.lyceum(*words)
    canary.assert_consistent(campus, *NODES)
    assert "removed already" in campus.lyceum(*words)


@pytest.fixture(scope="module")
def slow_gpu_1(campus: Project) -> None:
    """K3s on gpu-1 takes its time to start."""
    on(campus, "gpu-1", f'mkdir -p {DROP_IN}; printf "{SLOWLY}" >{DROP_IN}/slow.conf')


def interrupted(campus: Project, times: int) -> str:
    """What `up` prints when somebody presses control and C so many times while gpu-1 joins."""
    process = campus.start("up", "dev", "--yes", terminal=True)
    printed, there = until_it_prints(process, JOINS)
    assert there, f"gpu-1 did not join again:\n{printed}"
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        more, _ = until_it_prints(process, "press again to stop at once")
        printed += more
    rest, _ = process.communicate(timeout=5 * MINUTES)
    assert process.returncode not in {0, None}
    return printed + rest


def test_a_wrong_passphrase_is_reported_before_proxmox_is_asked_anything(
    campus: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E5."""
    log = campus.run / "log" / "proxmox-requests.jsonl"
    asked = log.read_text()
    with monkeypatch.context() as wrong:
        wrong.setattr(Project, "environment", {**campus.environment, "PULUMI_CONFIG_PASSPHRASE": "wrong"})
        text = campus.lyceum("up", "dev", "--yes", code=1)

    assert "the passphrase of the stack `dev` is missing or wrong" in text
    assert "PULUMI_CONFIG_PASSPHRASE" in text
    assert log.read_text() == asked, "no call to Proxmox may be made"


@pytest.mark.usefixtures("slow_gpu_1")
def test_one_interrupt_ends_what_runs_and_leaves_a_state_without_doubts(campus: Project) -> None:
    """E2, once."""
    let_gpu_1_join_again(campus, 1)
    printed = interrupted(campus, times=1)

    assert "press again to stop at once" in printed
    assert not campus.state().get("pending_operations"), f"every step must have been noted:\n{printed}"


@pytest.mark.usefixtures("slow_gpu_1")
def test_a_second_interrupt_stops_at_once_and_the_next_run_settles_what_was_open(campus: Project) -> None:
    """E2, twice."""
    let_gpu_1_join_again(campus, 2)
    interrupted(campus, times=2)
    text = campus.lyceum("up", "dev", "--yes")

    assert "gpu-1-k3s updated" in text
    canary.assert_consistent(campus, *NODES)


@pytest.mark.usefixtures("slow_gpu_1")
def test_a_machine_that_the_network_swallows_is_reported_by_its_address_and_the_next_run_finishes(
    campus: Project,
) -> None:
    """S4: nobody hangs up, so only the keepalive can notice."""
    let_gpu_1_join_again(campus, 3)
    process = campus.start("up", "dev", "--yes")
    # The session is open then: a machine that is cut off before is dialled for minutes, and told otherwise.
    printed, there = until_it_prints(process, "systemctl restart k3s-agent")
    assert there, f"gpu-1 did not join again:\n{printed}"
    campus.lyceum("lab", "faults", "cut", "gpu-1")
    try:
        rest, _ = process.communicate(timeout=10 * MINUTES)
    finally:
        campus.lyceum("lab", "faults", "heal", "gpu-1")

    assert process.returncode not in {0, None}
    # Whichever comes first: the keepalive, or the kernel that asks in vain for the machine's MAC address.
    gone = r"10.21.0.41:22 (has not answered for 30s|was lost): is it switched on, and the network on the way whole\?"
    assert re.search(gone, rest), f"the machine must be named, and what to do:\n{rest}"
    assert "gpu-1-k3s updated" in campus.lyceum("up", "dev", "--yes")
    canary.assert_consistent(campus, *NODES)


def test_the_api_address_on_a_second_machine_is_reported_with_both_names(campus: Project) -> None:
    """V2. Which of the two a client reaches is chance, so the cluster may seem well."""
    assert campus.status()["trouble"] == [], "positive control: one machine holds it"
    card = "$(ip -o -4 addr show | awk '/10.21.0.41\\// { print $2 }')"
    on(campus, "gpu-1", f"ip addr add {API}/32 dev {card}")
    try:
        text = campus.lyceum("status", "dev", code=1)
    finally:
        on(campus, "gpu-1", f"ip addr del {API}/32 dev {card}")

    assert f"the API address {API} is answered by 2 machines at once" in text
    assert "(gpu-1)" in text
    assert "(server-" in text


def test_an_etcd_that_refuses_to_write_is_reported_and_one_command_makes_it_write_again(campus: Project) -> None:
    """Q5. The alarm is raised by hand; ops/test_etcd fills a real etcd until it raises it itself."""
    status = json.loads(on(campus, "server-1", etcd.STATUS_SCRIPT).splitlines()[0])
    raised = json.dumps({"action": "ACTIVATE", "memberID": status["header"]["member_id"], "alarm": "NOSPACE"})
    on(campus, "server-1", etcd.etcd_script(f"etcd maintenance/alarm '{raised}'\n"))
    write = ("lab", "kubectl", "--", "-n", "canary", "annotate", "--overwrite", "secret", "canary")
    campus.lyceum(*write, "written=no", code=1)

    canary.wait_until(lambda: not answers(campus), "nobody holds the API's address: its lease is a write as well")
    for command in ("status", "dev"), ("node", "remove", "dev", "gpu-2"):
        process = campus.start(*command)
        reported, _ = process.communicate(timeout=5 * MINUTES)
        assert process.returncode != 0
        assert "etcd is full (alarm NOSPACE" in reported, f"{command} says:\n{reported}"
        assert "Remedy: ./lyceum etcd defragment dev" in reported
    text = campus.lyceum("etcd", "defragment", "dev")

    for server in ("server-1", "server-2", "server-3"):
        assert f"✓ defragment {server}" in text
    canary.wait_until(lambda: campus.lyceum(*write, "written=yes"), "the cluster takes changes again")
    assert campus.status()["trouble"] == []


def test_without_two_of_three_servers_nothing_is_touched_and_the_way_out_is_reported(campus: Project) -> None:
    """Q1. With their power they come back by themselves."""
    file = campus.path / ".lyceum" / "state" / ".pulumi" / "stacks" / "lyceum" / "dev.json"
    before = file.read_bytes(), campus.machines().keys()
    for name in ("server-2", "server-3"):
        campus.lyceum("lab", "faults", "power-fail", name)
    try:
        canary.wait_until(lambda: not answers(campus), "the API is silent")
        reported = [
            campus.lyceum("up", "dev", "--yes", code=REFUSED),
            campus.lyceum("node", "replace", "dev", "gpu-2", code=REFUSED),
            campus.lyceum("status", "dev", code=1),
        ]
    finally:
        for name in ("server-2", "server-3"):
            campus.lyceum("lab", "faults", "power-on", name)

    for text in reported:
        assert "2 of 3 servers are down (server-2: switched off, server-3: switched off)" in text
        assert "./lyceum restore dev --dry-run" in text
    assert (file.read_bytes(), campus.machines().keys()) == before, "neither the state nor a machine may have changed"
    canary.wait_until_healthy(campus, "the cluster is back")
    canary.assert_consistent(campus, *NODES)
