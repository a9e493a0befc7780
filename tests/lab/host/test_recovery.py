"""The Proxmox API over real hosts: what it says is on, is on, and comes back after the campus was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lab import campus, session
from lab.rundir import RunDir
from tests.lab.host.conftest import Lab, bring_up

pytestmark = pytest.mark.lab

CREATE_AND_START = """
import sys, time, urllib.parse, httpx
run, key = sys.argv[1:]
token = open(f"{run}/proxmox-token").read().strip()
api = httpx.Client(base_url="https://10.21.0.11:8006/api2/json/nodes/pve1", verify=f"{run}/ca.pem", timeout=60,
                   headers={"Authorization": f"PVEAPIToken={token}"})

def wait(answer):
    answer.raise_for_status()
    task = urllib.parse.quote(answer.json()["data"])
    while (state := api.get(f"tasks/{task}/status").json()["data"])["status"] == "running":
        time.sleep(0.05)
    assert state["exitstatus"] == "OK", state

wait(api.post("qemu", data={
    "vmid": 300, "name": "onboot", "pool": "lyceum", "memory": 1024, "cores": 1, "onboot": 1, "agent": "enabled=1",
    "scsihw": "virtio-scsi-single", "scsi0": "local-lvm:8", "ide2": "local-lvm:cloudinit", "ostype": "l26",
    "net0": "virtio=02:4c:0a:15:01:3c,bridge=vmbr0", "ipconfig0": "ip=10.21.1.60/16,gw=10.21.0.1",
    "ciuser": "lyceum", "sshkeys": urllib.parse.quote(key, safe=""),
}))
wait(api.post("qemu/300/status/start"))
"""


@pytest.fixture
def recovering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A campus of this test's own."""
    name = f"test-recovery-{os.getpid()}"
    try:
        bring_up(name)
        yield Lab(name, tmp_path_factory.mktemp("person"))
    finally:
        campus.down(name)


def test_a_vm_comes_back_with_its_disk_after_a_power_failure_of_its_own_and_of_the_campus(recovering: Lab) -> None:
    name = recovering.name
    script = [
        *campus.enter_command(name),
        sys.executable,
        "-c",
        CREATE_AND_START,
        str(RunDir.of(name).path),
        recovering.key,
    ]
    subprocess.run(script, check=True, timeout=120)
    recovering.wait(300)
    key = recovering.host_key(300)
    recovering.ask("power_fail", vmid=300)
    session.power_on(name, "onboot")
    recovering.wait(300)
    number = campus.read_pid(name)
    assert number is not None
    os.kill(number, signal.SIGKILL)
    while campus.read_pid(name) is not None:
        time.sleep(0.01)
    bring_up(name)
    recovering.wait(300)
    assert recovering.host_key(300) == key, "the same machine, not a new one of the same number"
