"""Services of a VM, as the K3s units use them."""

import pytest

from lab.contracts import VmSpec
from tests.lab.host.conftest import Lab

pytestmark = pytest.mark.lab

INSTALL = """
sudo tee /etc/systemd/system/{name}.service >/dev/null <<'UNIT'
[Unit]
Description=test
[Install]
WantedBy=multi-user.target
[Service]
{body}
UNIT
sudo systemctl daemon-reload
"""
READY = (
    "/bin/bash -c 'until [ -e /run/go ]; do sleep 0.1; done; python3 -c \"import socket,os; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
    '.sendto(b\\"READY=1\\", os.environ[\\"NOTIFY_SOCKET\\"])"; exec sleep 1000\''
)


@pytest.fixture(scope="module")
def machine(lab: Lab) -> VmSpec:
    """A VM for services."""
    return lab.boot(20)


def install(lab: Lab, machine: VmSpec, name: str, body: str) -> None:
    lab.says(machine, INSTALL.format(name=name, body=body))


def test_starting_a_notify_service_waits_until_it_is_ready(lab: Lab, machine: VmSpec) -> None:
    install(lab, machine, "slow", f"Type=notify\nRestart=always\nExecStart={READY}")
    assert lab.says(machine, "sudo systemctl start --no-block slow; systemctl is-active slow || true") == "activating"
    go = "(sleep 0.5; sudo touch /run/go) >/dev/null 2>&1 &"
    assert lab.says(machine, f"{go} sudo systemctl start slow; systemctl is-active slow") == "active"


def test_a_killed_service_comes_back_and_says_how_often(lab: Lab, machine: VmSpec) -> None:
    install(lab, machine, "phoenix", "Restart=always\nRestartSec=5s\nExecStart=/bin/sleep 1000")
    seen = 's=$(systemctl show -p ActiveState,NRestarts --value phoenix | xargs); echo "$s"'
    killed = "sudo systemctl start phoenix; sudo systemctl kill -s KILL phoenix"
    # In one go: the next login may take longer than the restart.
    states = lab.says(
        machine, f"{killed}; for i in $(seq 600); do {seen}; [ \"$s\" = 'active 1' ] && break; sleep 0.1; done"
    )
    assert "activating" in states, "it waits for RestartSec, and says so"
    assert states.splitlines()[-1] == "active 1"


def test_a_service_that_cannot_start_fails_with_its_reason_in_the_journal(lab: Lab, machine: VmSpec) -> None:
    install(lab, machine, "broken", "ExecStartPre=/bin/sh -c 'echo no disk >&2; exit 4'\nExecStart=/bin/true")
    done = lab.ssh(machine, "sudo systemctl start broken")
    assert done.returncode == 1
    assert "the control process exited with error code" in done.stderr
    assert "no disk" in lab.says(machine, "sudo journalctl -u broken --no-pager")
    assert lab.ssh(machine, "systemctl is-failed broken").returncode == 0


def test_a_service_that_always_fails_is_given_up_after_its_limit(lab: Lab, machine: VmSpec) -> None:
    body = "Restart=always\nRestartSec=10ms\nExecStart=/bin/false\n[Unit]\nStartLimitBurst=3"
    install(lab, machine, "hopeless", body)
    lab.ssh(machine, "sudo systemctl start hopeless")
    given_up = "[ $(systemctl show -p Result --value hopeless) = start-limit-hit ]"
    assert lab.says(machine, f"for i in $(seq 600); do {given_up} && echo so && break; sleep 0.1; done") == "so"


@pytest.mark.parametrize(("mode", "left"), [("process", "1"), ("control-group", "0")])
def test_the_kill_mode_decides_whether_children_outlive_a_stop(lab: Lab, machine: VmSpec, mode: str, left: str) -> None:
    name = f"parent-{mode}"
    child = f"sleep 77{len(mode)}"
    install(lab, machine, name, f"KillMode={mode}\nExecStart=/bin/bash -c 'setsid {child} & exec sleep 1000'")
    begun = f"until pgrep -fx '{child}' >/dev/null; do sleep 0.1; done"
    script = f"sudo systemctl start {name}; {begun}; sudo systemctl stop {name}; pgrep -fxc '{child}' || true"
    assert lab.says(machine, script) == left


TIMER = """
sudo tee /etc/systemd/system/tick.timer >/dev/null <<'UNIT'
[Timer]
OnCalendar=*:*:*
[Install]
WantedBy=timers.target
UNIT
sudo systemctl daemon-reload
sudo systemctl enable --now tick.timer
"""


def test_an_enabled_timer_starts_its_service_on_time_and_again_after_a_boot(lab: Lab) -> None:
    machine = lab.boot(22)
    install(lab, machine, "tick", "Type=oneshot\nExecStart=/bin/sh -c 'echo tick >>/var/lib/ticks'")
    lab.says(machine, TIMER)
    counted = "for i in $(seq 900); do [ -s /var/lib/ticks ] && echo ticked && break; sleep 0.1; done"
    assert lab.says(machine, counted) == "ticked"
    assert "tick.timer" in lab.says(machine, "systemctl list-timers --no-pager")
    lab.ask("vm_stop", vmid=machine.vmid, force=False)
    lab.boot(22)
    assert lab.says(machine, f"sudo rm -f /var/lib/ticks; {counted}") == "ticked"
    assert lab.says(machine, "systemctl is-enabled tick.timer; systemctl is-active tick.timer") == "enabled\nactive"


def test_an_enabled_service_starts_with_the_vm_and_a_disabled_one_does_not(lab: Lab, machine: VmSpec) -> None:
    other = lab.boot(21)
    for name in ("wanted", "unwanted"):
        install(lab, other, name, "EnvironmentFile=-/etc/missing.env\nExecStart=/bin/sleep 1000")
    lab.says(other, "sudo systemctl enable --now wanted unwanted; sudo systemctl disable unwanted")
    lab.ask("vm_stop", vmid=other.vmid, force=False)
    lab.boot(21)
    lab.says(other, "for i in $(seq 600); do systemctl is-system-running && break; sleep 0.1; done")
    assert lab.ssh(other, "systemctl is-active wanted unwanted").stdout.split() == ["active", "inactive"]
