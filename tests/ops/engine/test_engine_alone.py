"""One operation at a time on a stack, also after the last one was killed; and how often its state is read."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.errors import LyceumError
from ops.engine import engine
from ops.engine.stack import Stack

HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine, "STATE", tmp_path)
    (tmp_path / "locks").mkdir()
    return tmp_path / "locks" / "dev.lock"


@contextmanager
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_operation_is_refused_and_names_the_first(lock: Path) -> None:
    """Two engines on one campus would each undo what the other does; cancelling the first is nobody's guess to make."""
    with holder(lock) as first:
        lock.write_text(str(first.pid))

        with pytest.raises(LyceumError, match=f"process {first.pid}"), engine.Engine(Stack("dev")).hold_lock():
            pytest.fail("two operations at once")

        assert first.poll() is None, "the first operation must go on"


def test_what_a_killed_run_left_running_is_ended_first(lock: Path) -> None:
    """Plugins outlive an engine that is killed, and keep its lock; the run that wrote its name there is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    with holder(lock) as leftover:
        lock.write_text(str(gone.pid))

        with engine.Engine(Stack("dev")).hold_lock():
            assert leftover.wait(timeout=60) != 0, "the leftover must have been ended"


def test_the_next_operation_may_begin_when_the_last_has_ended(lock: Path) -> None:
    for _ in range(2):
        with engine.Engine(Stack("dev")).hold_lock() as held:
            assert lock.read_text(), "the holder writes its name for others to read"
            assert held.name == str(lock)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """An engine that notes what it is asked; its state is empty."""
    asked: list[tuple[str, ...]] = []

    def query(_: engine.Engine, *arguments: str) -> str:
        asked.append(arguments)
        return "{}"

    monkeypatch.setattr(engine.Engine, "query", query)
    return asked


def test_the_state_is_read_once_and_again_after_a_change(asked: list[tuple[str, ...]], lock: Path) -> None:
    one = engine.Engine(Stack("dev"))
    for _ in range(2):
        one.export()
        one.export(secrets=True)
    assert asked == [("stack", "export"), ("stack", "export", "--show-secrets")]

    with one.hold_lock():
        one.export()
    assert len(asked) == 3, "another command may have changed it while this one waited for the lock"
