"""Scripts on machines: only on the machine that we know, and a failure is reported with its words (fault matrix S1)."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ops.clients.ssh import Remote, RemoteError
from tests.support.relay import Relay
from tests.support.sshd import Sshd, make_key


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd") / "server")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def machine(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Remote:
    # Who runs the tests may have no sudo; what is tested is the way there.
    monkeypatch.setattr("ops.clients.ssh.run_as_root", lambda: "bash -s")
    monkeypatch.setattr("ops.clients.ssh.SUDO", "")
    return Remote("gpu-1", "127.0.0.1", sshd.host_key, sshd.key.read_text(), sshd.user, sshd.port)


def test_a_script_gives_what_it_prints(machine: Remote) -> None:
    assert machine.run("echo one; echo two >&2; echo three") == "one\nthree\n"


def test_a_script_that_fails_is_reported_with_its_output(machine: Remote) -> None:
    with pytest.raises(RemoteError, match="gpu-1: the disk is full"):
        machine.run("echo the disk is full >&2; exit 3")


def test_a_script_travels_on_standard_input_and_in_no_argument(machine: Remote) -> None:
    assert "the-token" not in machine.run("secret=the-token; tr '\\0' ' ' </proc/$$/cmdline")


def test_a_machine_with_another_key_gets_nothing(machine: Remote, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    reported = replace(machine, host_key=(tmp_path / "other.pub").read_text().strip())
    with pytest.raises(RemoteError, match=r"has another host key .* nothing was sent"):
        reported.run(f"touch {tmp_path / 'reached'}")

    assert not (tmp_path / "reached").exists()


def test_a_machine_that_does_not_answer_is_named(machine: Remote) -> None:
    with pytest.raises(RemoteError, match=r"gpu-1 \(127\.0\.0\.1\) cannot be reached over SSH"):
        replace(machine, port=1).run("true")


def test_a_script_that_hangs_is_ended(machine: Remote) -> None:
    with pytest.raises(RemoteError, match="no answer in time"):
        machine.run("sleep 60", seconds=0.5)


def test_a_file_comes_whole_and_is_its_owners_alone(machine: Remote, tmp_path: Path) -> None:
    machine.fetch("head -c 3000000 /dev/zero", tmp_path / "snapshot")

    assert (tmp_path / "snapshot").read_bytes() == bytes(3_000_000)
    assert (tmp_path / "snapshot").stat().st_mode & 0o777 == 0o600


def test_a_file_that_breaks_off_never_bears_its_name(machine: Remote, tmp_path: Path) -> None:
    """Half a snapshot under a snapshot's name is a backup that somebody counts on."""
    with pytest.raises(RemoteError, match="gpu-1: exit code 3"):
        machine.fetch("bash -c 'echo half; exit 3'", tmp_path / "snapshot")

    assert not (tmp_path / "snapshot").exists()


def test_a_machine_that_falls_silent_is_given_up_by_name(
    machine: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S4, for the commands that do not go through the engine."""
    monkeypatch.setattr("ops.clients.ssh.PROBE_SECONDS", 0.5)
    with Relay(machine.port) as network, ThreadPoolExecutor() as beside:
        running = beside.submit(replace(machine, port=network.port).run, f"touch {tmp_path}/begun; sleep 600")
        while not (tmp_path / "begun").exists():
            assert not running.done(), running.result()
            time.sleep(0.05)
        network.silence()
        with pytest.raises(
            RemoteError, match=r"gpu-1 \(127.0.0.1\) cannot be reached over SSH: .*switched on"
        ) as reported:
            running.result(60)
    assert "run the same command again" in str(reported.value)
