"""`systemctl` command lines and the words of its answers."""

import asyncio
from pathlib import Path

import pytest

from lab.host.guest.services import ServiceRunner
from lab.host.guest.systemctl import decode_answer, decode_words, encode_words
from lab.host.guest.systemctl_server import parse_call, systemctl
from lab.host.guest.unit_files import UnitFiles


class Idle:
    """A manager without a process."""

    booted = True

    def __init__(self, root: Path) -> None:
        self.files = UnitFiles(root)
        self.powered: list[int] = []

    def runner(self, name: str) -> ServiceRunner:
        return ServiceRunner(None, self.files.load(name))  # type: ignore[arg-type]  # nothing is started

    def known(self) -> list[ServiceRunner]:
        return []

    def reload(self) -> None: ...

    def power(self, status: int) -> None:
        self.powered.append(status)


@pytest.fixture
def manager(tmp_path: Path) -> Idle:
    etc = tmp_path / "etc/systemd/system"
    etc.mkdir(parents=True)
    (etc / "k3s.service").write_text("[Service]\nExecStart=/bin/k3s\n[Install]\nWantedBy=multi-user.target\n")
    return Idle(tmp_path)


def test_options_may_stand_anywhere_and_names_are_completed() -> None:
    call = parse_call(["--no-pager", "show", "k3s", "-p", "MainPID,ActiveState", "--value"])
    assert (call.verb, call.units) == ("show", ("k3s.service",))
    assert call.values == {"property": "MainPID,ActiveState"}
    assert "value" in call.flags


@pytest.mark.parametrize(
    ("argv", "code", "out"),
    [
        (["is-active", "k3s"], 3, "inactive\n"),
        (["is-active", "-q", "k3s"], 3, ""),
        (["is-enabled", "k3s"], 1, "disabled\n"),
        (["show", "-p", "ActiveState,LoadState", "k3s"], 0, "ActiveState=inactive\nLoadState=loaded\n"),
        (["show", "-p", "LoadState", "--value", "nothing"], 0, "not-found\n"),
        (["is-system-running"], 0, "running\n"),
    ],
)
def test_questions_are_answered_with_systemds_words_and_statuses(
    manager: Idle, argv: list[str], code: int, out: str
) -> None:
    answer = asyncio.run(systemctl(manager, argv, root=False))
    assert (answer.code, answer.out) == (code, out)


def test_only_root_may_change_anything(manager: Idle) -> None:
    answer = asyncio.run(systemctl(manager, ["reboot"], root=False))
    assert answer.code == 1
    assert "Interactive authentication required" in answer.err
    assert manager.powered == [], "a refusal has no effect"


def test_reboot_and_poweroff_end_pid_1_with_different_statuses(manager: Idle) -> None:
    for verb in ("reboot", "poweroff"):
        asyncio.run(systemctl(manager, [verb], root=True))
    assert manager.powered == [3, 0], "the hypervisor tells a reboot from a power-off by them"


def test_a_unit_that_is_not_there_is_status_4(manager: Idle) -> None:
    answer = asyncio.run(systemctl(manager, ["status", "nothing"], root=True))
    assert (answer.code, answer.err) == (4, "Unit nothing.service could not be found.\n")


@pytest.mark.parametrize("words", [[], ["status", "k3s"], ["show", "", "a b"], ["set", "two\nlines", "ü"]])
def test_words_reach_pid_1_as_they_were_said(words: list[str]) -> None:
    assert decode_words(encode_words(words)) == words


def test_no_answer_means_that_pid_1_is_going_down() -> None:
    assert decode_answer(b"") == (1, "", "Failed to get a reply from PID 1: it is going down\n")
    assert decode_answer(encode_words(["3", "inactive\n", ""])) == (3, "inactive\n", "")
