"""VMs as a person meets them: over SSH, through the guest agent, and when their power fails."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest

from lab import campus
from lab.contracts import Nic, VmSpec
from tests.lab.host.conftest import BOOT_SECONDS, Lab

pytestmark = pytest.mark.lab
BOOTED = "cut -d' ' -f22 /proc/1/stat"
"""When the VM's first process began, in ticks."""
KERNEL_PANIC = Path("/proc/sys/kernel/panic")


@pytest.fixture(scope="module")
def first(lab: Lab) -> VmSpec:
    """A VM that tests may look at and must not break."""
    return lab.boot(1)


def test_the_user_of_cloud_init_logs_in_with_a_key_and_is_root_by_sudo(lab: Lab, first: VmSpec) -> None:
    assert lab.says(first, "hostname; whoami; sudo -n id -u") == "vm-1\nlyceum\n0"


def test_the_host_key_that_the_agent_reads_is_the_one_that_ssh_sees(lab: Lab, first: VmSpec) -> None:
    scan = [*campus.enter_command(lab.name), "ssh-keyscan", "-t", "ed25519", "10.21.1.1"]
    seen = subprocess.run(scan, capture_output=True, text=True, check=True).stdout.split()
    assert seen[1:3] == lab.host_key(first.vmid).split()[:2]


def test_a_vm_sees_its_gpu_and_its_data_disk(lab: Lab, first: VmSpec) -> None:
    assert lab.says(first, "lspci -nn") == "01:00.0 3D controller [0302]: NVIDIA A100 PCIE 40GB [10de:20f1]"
    size = lab.says(first, "sudo stat -Lc %s /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_ceph-1")
    assert size == str(20 << 30)


def test_nothing_leads_out_of_the_campus(lab: Lab, first: VmSpec) -> None:
    script = "timeout 2 bash -c '</dev/tcp/198.51.100.1/53' 2>/dev/null; echo $?; ip route show default"
    code, route = lab.says(first, script).splitlines()
    assert code != "0", "an address outside answered"
    assert route.startswith("default via 10.21.0.1 dev eth0"), "the VM itself is set up as on a real campus"


def test_names_are_known_or_unknown_without_waiting(lab: Lab, first: VmSpec) -> None:
    script = "getent hosts pve1 vm-1.lab.example; time getent hosts registry.example"
    done = lab.ssh(first, f"TIMEFORMAT=%R; {script}")
    assert done.stdout.split()[0] == "10.21.0.11"
    assert float(done.stderr.strip()) < 4.0, "an unknown name must not cost a resolver's time-out of five seconds"


def test_what_a_vms_root_sets_in_the_kernel_stays_a_note(lab: Lab, first: VmSpec) -> None:
    before = KERNEL_PANIC.read_text()
    assert lab.says(first, "sudo sysctl -w kernel.panic=77 && sudo sysctl -n kernel.panic") == "kernel.panic = 77\n77"
    assert lab.ssh(first, "echo 77 | sudo tee /proc/sys/kernel/panic").returncode != 0
    assert KERNEL_PANIC.read_text() == before, "the machine's kernel was changed from inside a VM"


def test_kernel_settings_in_files_are_in_force_after_a_boot(lab: Lab) -> None:
    machine = lab.boot(9)
    lab.says(machine, "echo kernel.panic=42 | sudo tee /etc/sysctl.d/90-test.conf")
    lab.says(machine, "sudo mkdir -p /etc/modules-load.d; echo br_netfilter | sudo tee /etc/modules-load.d/k3s.conf")
    lab.ask("vm_stop", vmid=machine.vmid, force=False)
    lab.boot(9)
    assert lab.says(machine, "sysctl -n kernel.panic; lsmod | grep -c br_netfilter") == "42\n1"


def test_a_vm_shows_nothing_of_the_machines_people(lab: Lab, first: VmSpec) -> None:
    assert lab.says(first, "ls /home; sudo ls -A /root; ls /opt; ls /usr/local/bin") == "lyceum\nlyceum-lab"


def test_a_vlan_of_its_own_is_reached_through_its_gateway_only(lab: Lab, first: VmSpec) -> None:
    nic = Nic("02:4c:0a:63:00:05", "vmbr0", 30, "10.99.0.5/24", "10.99.0.1")
    machine = lab.boot(8, nics=(nic,))
    assert lab.says(machine, "hostname") == "vm-8", "the campus's router is in the VLAN"
    probe = "sudo ip address add 10.99.0.9/24 dev eth0; timeout 1 bash -c '</dev/tcp/10.99.0.5/22'"
    assert lab.ssh(first, probe).returncode != 0, "a neighbour outside the VLAN must not reach it"


def test_a_reboot_keeps_the_disk_and_the_host_key(lab: Lab) -> None:
    machine = lab.boot(2)
    key = lab.host_key(machine.vmid)
    lab.says(
        machine, "echo kept | sudo tee /etc/kept /usr/local/kept >/dev/null; touch /run/user-was-here 2>&1 || true"
    )
    started = lab.says(machine, BOOTED)
    lab.ssh(machine, "sleep 1; sudo reboot")
    _wait_for_another_boot(lab, machine, started)
    assert lab.says(machine, "cat /etc/kept /usr/local/kept") == "kept\nkept"
    assert lab.host_key(machine.vmid) == key


def _wait_for_another_boot(lab: Lab, machine: VmSpec, started: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        # The agent may answer a last time before the machine goes down: any step may then find it silent.
        with contextlib.suppress(campus.ControlError):
            done = lab.ssh(machine, BOOTED)
            if done.returncode == 0 and done.stdout.strip() != started:
                lab.wait(machine.vmid)
                return
        time.sleep(0.05)
    pytest.fail("the VM did not come back from its reboot")


def test_a_power_failure_keeps_what_was_written(lab: Lab) -> None:
    machine = lab.boot(3)
    lab.says(machine, "echo kept | sudo tee /etc/kept")
    lab.ask("power_fail", vmid=machine.vmid)
    assert machine.vmid not in [found["vmid"] for found in lab.ask("machines")], "it is off until somebody starts it"
    lab.boot(3)
    assert lab.says(machine, "cat /etc/kept") == "kept"


def test_deleting_a_vm_loses_its_disk_and_its_host_key(lab: Lab) -> None:
    machine = lab.boot(4)
    key = lab.host_key(machine.vmid)
    lab.says(machine, "echo kept | sudo tee /etc/kept")
    lab.ask("vm_delete", vmid=machine.vmid)
    lab.boot(4)
    assert lab.ssh(machine, "cat /etc/kept").returncode == 1
    assert lab.host_key(machine.vmid) != key


def test_the_agent_is_silent_while_the_vm_is_off(lab: Lab) -> None:
    machine = lab.boot(5)
    lab.ask("vm_stop", vmid=machine.vmid, force=False)
    with pytest.raises(campus.ControlError, match="guest agent is not running"):
        lab.ask("vm_agent", vmid=machine.vmid, command="ping", arguments={})


def test_the_agent_does_not_follow_a_guests_links_to_the_machine(lab: Lab, first: VmSpec) -> None:
    lab.says(first, "sudo ln -sfn /proc/1/environ /etc/lead; sudo ln -sfn /etc/machine-id /etc/own")
    own = lab.ask("vm_agent", vmid=first.vmid, command="file-read", arguments={"file": "/etc/own"})["content"]
    assert own.strip() == lab.says(first, "cat /etc/machine-id"), "absolute links mean the VM's own root"
