"""A campus for the tests of this directory: up once, in a second, and gone whatever happens."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lab import campus
from lab.contracts import VmSpec
from lab.spec import CampusRequest, dump_request
from tests.lab.host.vms import CAMPUS, vm

BOOT_SECONDS = 120.0
"""A VM answers after 50 ms; this is for machines that do much else."""


class Lab:
    """A running campus, and a person with a key in it."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "id")], check=True)
        self.key = (home / "id.pub").read_text().strip()

    def ask(self, do: str, **arguments: Any) -> Any:
        return campus.ask(do, lab=self.name, **arguments)

    def boot(self, number: int, **changes: Any) -> VmSpec:
        """Power a VM on and wait for its guest agent."""
        machine = vm(number, ssh_keys=(self.key,), **changes)
        self.ask("vm_start", vm=asdict(machine))
        self.wait(machine.vmid)
        return machine

    def wait(self, vmid: int) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                self.ask("vm_agent", vmid=vmid, command="ping", arguments={})
            except campus.ControlError:
                assert time.monotonic() < deadline, f"VM {vmid} did not boot in {BOOT_SECONDS} s"
                time.sleep(0.02)
            else:
                return

    def host_key(self, vmid: int) -> str:
        """The public host key that the guest agent reads from the VM's disk."""
        path = {"file": "/etc/ssh/ssh_host_ed25519_key.pub"}
        content: str = self.ask("vm_agent", vmid=vmid, command="file-read", arguments=path)["content"]
        return content

    def ssh(self, machine: VmSpec, script: str, *, timeout: int = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a VM as its user; the host key is pinned through the guest agent."""
        address = (machine.nics[0].address or "").split("/")[0]
        known = self.home / f"known-{machine.vmid}"
        known.write_text(f"{address} {self.host_key(machine.vmid)}")
        options = f"-i {self.home}/id -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o ConnectTimeout=30"
        command = [
            *campus.enter_command(self.name),
            "ssh",
            "-F",
            "none",
            *shlex.split(options),
            f"lyceum@{address}",
            script,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def says(self, machine: VmSpec, script: str) -> str:
        """What a script prints, stripped; it must succeed."""
        done = self.ssh(machine, script)
        assert done.returncode == 0, f"`{script}` failed: {done.stdout}{done.stderr}"
        return done.stdout.strip()


def bring_up(name: str) -> None:
    campus.up(dump_request(CampusRequest(replace(CAMPUS, name=name))), name, report=print)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A campus of its own, beside whatever else runs on the machine."""
    name = f"test-host-{os.getpid()}"
    try:
        bring_up(name)
        yield Lab(name, tmp_path_factory.mktemp("person"))
    finally:
        campus.down(name)
