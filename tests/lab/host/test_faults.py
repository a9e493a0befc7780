"""Faults do what they say, and can be undone."""

import subprocess

import pytest

from lab import campus
from lab.contracts import VmSpec
from tests.lab.host.conftest import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def victim(lab: Lab) -> VmSpec:
    """A VM to break and to mend."""
    return lab.boot(30)


def answers(lab: Lab, seconds: int = 15) -> bool:
    """Whether the victim's sshd says its banner in time."""
    script = "exec 3<>/dev/tcp/10.21.1.30/22 && head -c 4 <&3"
    done = subprocess.run(
        [*campus.enter_command(lab.name), "timeout", str(seconds), "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "SSH-"


def test_a_cut_off_vm_does_not_answer_until_it_is_healed(lab: Lab, victim: VmSpec) -> None:
    assert answers(lab), "positive control: it answers before"
    lab.ask("cut", vmid=victim.vmid)
    assert not answers(lab, 1)
    lab.ask("heal", vmid=victim.vmid)
    assert answers(lab)


def test_a_frozen_vm_accepts_connections_and_says_nothing(lab: Lab, victim: VmSpec) -> None:
    lab.ask("freeze", vmid=victim.vmid)
    try:
        assert not answers(lab, 1)
        assert victim.vmid in [found["vmid"] for found in lab.ask("machines")], "frozen is not off"
    finally:
        lab.ask("thaw", vmid=victim.vmid)
    assert answers(lab)


def test_a_rogue_sshd_is_refused_by_whoever_pinned_the_key(lab: Lab, victim: VmSpec) -> None:
    rogue = lab.ask("rogue_sshd", vmid=victim.vmid)
    try:
        assert rogue.split()[1] not in lab.host_key(victim.vmid), "the disk still shows the true key"
        refused = lab.ssh(victim, "true")
        assert refused.returncode == 255
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    finally:
        lab.ask("true_sshd", vmid=victim.vmid)
    assert lab.says(victim, "echo in") == "in"


def test_a_fault_on_a_vm_that_is_off_is_refused_with_its_number(lab: Lab) -> None:
    with pytest.raises(campus.ControlError, match="VM 4711 is not running"):
        lab.ask("freeze", vmid=4711)
