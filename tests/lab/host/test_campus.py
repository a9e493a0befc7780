"""A campus comes, goes, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import campus
from lab.rundir import PROJECT, RunDir
from lab.spec import CampusRequest, dump_request
from tests.lab.host.conftest import Lab, bring_up
from tests.lab.host.vms import CAMPUS, NODE

pytestmark = pytest.mark.lab

TLS = """
import socket, ssl, sys
plain = socket.create_connection(("10.21.0.11", 8006))
print(ssl.create_default_context(cafile=sys.argv[1]).wrap_socket(plain, server_hostname="10.21.0.11").version())
"""


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A second campus, that tests of this file may kill."""
    name = f"test-doomed-{os.getpid()}"
    yield Lab(name, tmp_path_factory.mktemp("person"))
    campus.down(name)


@pytest.fixture
def doomed(killable: Lab) -> Lab:
    """The second campus, up again after whatever the test before did to it."""
    bring_up(killable.name)
    return killable


def processes_of(name: str) -> list[str]:
    """Command lines of this machine that work for a lab: all of them hold its run directory open or name it."""
    marks = str(RunDir.of(name).path).encode()
    found = []
    for entry in Path("/proc").glob("[1-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            mounts = (entry / "mountinfo").read_bytes()
        except OSError:
            continue
        if marks in line or marks in mounts:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def gone(name: str) -> bool:
    """Whether nothing of a lab runs any more; what is above its first process ends a moment after that one."""
    end = time.monotonic() + 60
    while (left := processes_of(name)) and time.monotonic() < end:
        time.sleep(0.05)
    return left == []


def kill(name: str, generation: int = 0) -> None:
    """Kill the first process of a campus, its child (the daemon) or that one's (the launcher), and wait for the end."""
    number = campus.read_pid(name)
    assert number is not None
    for _ in range(generation):
        number = int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])
    os.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while campus.read_pid(name) is not None:
        assert time.monotonic() < deadline, "the campus outlived its first process by a minute"
        time.sleep(0.01)


def test_two_labs_with_the_same_addresses_do_not_meet(lab: Lab, doomed: Lab) -> None:
    here, there = lab.boot(40), doomed.boot(40)
    assert lab.host_key(here.vmid) != doomed.host_key(there.vmid)
    assert doomed.says(there, "hostname") == "vm-40", "each is reached in its own network"


@pytest.mark.parametrize("generation", [0, 1, 2], ids=["first-process", "daemon", "launcher"])
def test_killing_any_part_of_it_leaves_no_process_and_no_mount(doomed: Lab, generation: int) -> None:
    doomed.boot(41)
    assert processes_of(doomed.name), "positive control: the campus is visible before"
    kill(doomed.name, generation)
    assert gone(doomed.name)
    assert not campus.is_up(doomed.name), "its PID file is stale, and known to be"


def test_a_campus_that_was_killed_comes_back_with_its_disks_and_its_ca(doomed: Lab) -> None:
    machine = doomed.boot(42)
    doomed.says(machine, "echo kept | sudo tee /etc/kept")
    authority = RunDir.of(doomed.name).ca.read_bytes()
    kill(doomed.name)
    bring_up(doomed.name)
    doomed.boot(42)
    assert doomed.says(machine, "cat /etc/kept") == "kept"
    assert RunDir.of(doomed.name).ca.read_bytes() == authority, "clients that trust the lab go on trusting it"


def test_down_removes_everything_and_may_be_said_twice(doomed: Lab) -> None:
    doomed.boot(43)
    assert campus.down(doomed.name)
    assert not RunDir.of(doomed.name).path.exists()
    assert gone(doomed.name)
    assert not campus.down(doomed.name)


def test_up_of_a_lab_that_is_up_does_nothing(lab: Lab) -> None:
    before = campus.read_pid(lab.name)
    campus.up(dump_request(CampusRequest(replace(CAMPUS, name=lab.name))), lab.name, report=pytest.fail)
    assert campus.read_pid(lab.name) == before


def test_another_campus_under_the_same_name_is_refused(lab: Lab) -> None:
    other = CampusRequest(replace(CAMPUS, name=lab.name, nodes=(replace(NODE, cpus=1),)))
    with pytest.raises(campus.CampusError, match="lab down"):
        campus.up(dump_request(other), lab.name, report=print)


def test_the_proxmox_api_speaks_tls_1_3_with_a_certificate_of_the_labs_ca(lab: Lab) -> None:
    run = RunDir.of(lab.name)
    command = [*campus.enter_command(lab.name), sys.executable, "-c", TLS, str(run.ca)]
    seen = subprocess.run(command, capture_output=True, text=True, check=False)
    assert seen.stdout.strip() == "TLSv1.3", seen.stderr


def test_secrets_of_a_lab_are_its_owners_alone(lab: Lab) -> None:
    run = RunDir.of(lab.name)
    assert run.path.stat().st_mode & 0o077 == 0
    for file in (run.seed, run.ca_key, run.path / "proxmox-token"):
        assert file.stat().st_mode & 0o077 == 0, f"others may read {file.relative_to(PROJECT)}"
