"""What goes wrong while somebody works on a cluster that runs: he stops it, the network swallows a machine.

Fault matrix: E2, E5, S4.
"""

import base64
import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.lab.life import canary
from tests.lab.life.conftest import change_site
from tests.support.project import MINUTES, Project, until_it_prints

pytestmark = pytest.mark.lab

NODES = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
JOINS = "gpu-1-k3s updating"
SLOWLY = r"[Service]\nExecStartPre=/bin/sleep 20\n"
DROP_IN = "/etc/systemd/system/k3s-agent.service.d"


def on(campus: Project, machine: str, script: str) -> str:
    """Runs a script as a machine's root; encoded, because two shells lie between."""
    encoded = base64.b64encode(f"set -e\n{script}".encode()).decode()
    return campus.lyceum("lab", "ssh", machine, f"echo {encoded} | base64 -d | sudo bash -s")


def let_gpu_1_join_again(campus: Project, time: int) -> None:
    """The next `up` runs every node's script anew, and K3s on gpu-1 takes its time to start."""
    change_site(campus, {"k3s": {"sha256": f"{time:064x}"}})
    on(campus, "gpu-1", "touch /run/lyceum-restart-k3s")


@pytest.fixture(scope="module", autouse=True)
def _slow_gpu_1(campus: Project) -> Iterator[None]:
    site = campus.path / "config" / "sites" / "lab.yaml"
    before = site.read_text()
    campus.lyceum("up", "dev", "--yes")
    canary.settle_in(campus)
    on(campus, "gpu-1", f'mkdir -p {DROP_IN}; printf "{SLOWLY}" >{DROP_IN}/slow.conf')
    yield
    on(campus, "gpu-1", f"rm -r {DROP_IN}; systemctl daemon-reload")
    site.write_text(before)
    campus.lyceum("up", "dev", "--yes")


def interrupted(campus: Project, times: int) -> str:
    """What `up` prints when somebody presses control and C so many times while gpu-1 joins."""
    process = campus.start("up", "dev", "--yes", terminal=True)
    printed, there = until_it_prints(process, JOINS)
    assert there, f"gpu-1 did not join again:\n{printed}"
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        more, _ = until_it_prints(process, "press again to stop at once")
        printed += more
    rest, _ = process.communicate(timeout=2 * MINUTES)
    assert process.returncode not in {0, None}
    return printed + rest


def test_a_wrong_passphrase_is_told_before_proxmox_is_asked_anything(
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
    canary.whole(campus, *NODES)
    canary.sings(campus)


def test_a_machine_that_the_network_swallows_is_told_by_its_address_and_the_next_run_finishes(campus: Project) -> None:
    """S4: nobody hangs up, so only the keepalive can notice."""
    let_gpu_1_join_again(campus, 3)
    process = campus.start("up", "dev", "--yes")
    printed, there = until_it_prints(process, JOINS)
    assert there, f"gpu-1 did not join again:\n{printed}"
    campus.lyceum("lab", "faults", "cut", "gpu-1")
    try:
        rest, _ = process.communicate(timeout=4 * MINUTES)
    finally:
        campus.lyceum("lab", "faults", "heal", "gpu-1")

    assert process.returncode not in {0, None}
    # Whichever comes first: the keepalive, or the kernel that asks in vain for the machine's MAC address.
    gone = r"10.21.0.41:22 (has not answered for 30s|was lost): is it switched on, and the network on the way whole\?"
    assert re.search(gone, rest), f"the machine must be named, and what to do:\n{rest}"
    assert "gpu-1-k3s updated" in campus.lyceum("up", "dev", "--yes")
    canary.whole(campus, *NODES)
