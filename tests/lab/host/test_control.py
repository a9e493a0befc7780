"""The control socket."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import control


async def double(number: int) -> int:
    return 2 * number


async def refuse() -> None:
    raise ValueError("not today")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A socket deeper than the kernel's limit for socket paths, with two calls behind it."""
    path = tmp_path / ("d" * 60) / ("e" * 60) / "control.sock"
    path.parent.mkdir(parents=True)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(control.serve(path, {"double": double, "refuse": refuse}))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield path
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.close()


def test_a_call_is_answered_however_deep_the_project_lies(served: Path) -> None:
    assert len(str(served)) > 107, "else this proves nothing"
    assert control.call_handler(served, "double", number=21) == 42


def test_a_refusal_arrives_with_its_reason(served: Path) -> None:
    with pytest.raises(control.ControlError, match="not today"):
        control.call_handler(served, "refuse")


def test_only_the_labs_owner_may_ask(served: Path) -> None:
    assert served.stat().st_mode & 0o077 == 0


def test_where_nobody_listens_the_lab_is_down(tmp_path: Path) -> None:
    with pytest.raises(control.NotRunning, match="the lab is down"):
        control.call_handler(tmp_path / "control.sock", "double", number=1)
