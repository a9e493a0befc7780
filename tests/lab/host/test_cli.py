"""`./lyceum lab` as a person types it."""

import json
import subprocess
import sys

import pytest

from config.key_derivation import ssh_public_key_line
from lab.rundir import PROJECT, RunDir
from tests.lab.host.conftest import Lab

pytestmark = pytest.mark.lab


def type_in(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the sub-command as its own process."""
    command = [sys.executable, "-m", "lab.cli", *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_ssh_logs_in_with_the_key_that_is_derived_from_the_labs_seed(lab: Lab) -> None:
    seed = RunDir.of(lab.name).seed.read_text().strip()
    lab.key, own = ssh_public_key_line(seed), lab.key
    try:
        lab.boot(50)
    finally:
        lab.key = own
    done = type_in("ssh", "--name", lab.name, "vm-50", "hostname; exit 7")
    assert (done.stdout, done.returncode) == ("vm-50\n", 7), done.stderr
    assert list(RunDir.of(lab.name).path.glob("ssh-*")) == [], "the private key does not stay on disk"


def test_ssh_to_a_machine_that_is_not_there_names_those_that_are(lab: Lab) -> None:
    lab.boot(51)
    done = type_in("ssh", "--name", lab.name, "gpu-99")
    assert done.returncode == 1
    assert "vm-51" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_for_programs_has_every_machine_and_says_what_is_simulated(lab: Lab) -> None:
    machine = lab.boot(52)
    state = json.loads(type_in("status", "--name", lab.name, "--json").stdout)
    assert machine.vmid in [found["vmid"] for found in state["machines"]]
    assert {"part": "GPUs", "is": "simulated"}.items() <= state["parts"][-1].items()


def test_kubectl_without_a_cluster_says_how_to_make_one(lab: Lab) -> None:
    done = type_in("kubectl", "--name", lab.name, "get", "nodes", "-o", "wide")
    assert done.returncode == 1
    assert "lyceum up dev" in done.stderr


def test_logs_of_a_machine_show_its_units(lab: Lab) -> None:
    lab.boot(53)
    assert "Server listening on 0.0.0.0 port 22." in type_in("logs", "--name", lab.name, "vm-53").stdout


def test_a_lab_that_is_down_is_reported_in_one_line() -> None:
    done = type_in("status", "--name", "nobody-made-this")
    assert done.returncode == 1
    assert "./lyceum lab up" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
