"""What goes wrong while somebody works on a cluster that runs: he stops it, the network swallows a machine, servers die.

Fault matrix: E2, E5, S4, Q1, Q5, V2.
"""

import base64
import json
import os
import re
import signal

import pytest

from ops.clients import etcd
from tests.lab.life import canary
from tests.lab.life.conftest import change_site
from tests.support.project import MINUTES, Project, until_it_prints

pytestmark = pytest.mark.lab

NODES = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
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
    """The next `up` runs every node's script again, and K3s on gpu-1 takes its time to start."""
    change_site(campus, {"k3s": {"sha256": f"{time:064x}"}})
    on(campus, "gpu-1", "touch /run/lyceum-restart-k3s")


@pytest.fixture(scope="module", autouse=True)
def _slow_gpu_1(campus: Project) -> None:
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
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


def test_one_interrupt_ends_what_runs_and_leaves_a_state_without_doubts(campus: Project) -> None:
    """E2, once."""
    let_gpu_1_join_again(campus, 1)
    printed = interrupted(campus, times=1)

    assert "press again to stop at once" in printed
    assert not campus.state().get("pending_operations"), f"every step must have been noted:\n{printed}"


def test_a_second_interrupt_stops_at_once_and_the_next_run_settles_what_was_open(campus: Project) -> None:
    """E2, twice."""
    let_gpu_1_join_again(campus, 2)
    interrupted(campus, times=2)
    text = campus.lyceum("up", "dev", "--yes")

    assert "gpu-1-k3s updated" in text
    canary.assert_consistent(campus, *NODES)
    canary.assert_running(campus)


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
    canary.assert_running(campus)


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
    canary.wait_until(lambda: campus.status()["healthy"], "the cluster is back")
    canary.assert_consistent(campus, *NODES)
    canary.assert_running(campus)
