"""Says what long work is doing: one line that moves on a terminal, a line now and then in a log."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARTBEAT_S = 60.0  # between two lines of a log that nobody may be watching
FRAME_S = 0.5  # between two pictures of the line on a terminal
WIDTH = 100  # of that line; longer ones would wrap and stay


def duration(seconds: float) -> str:
    """Seconds as a person says them: `0.4 s`, `12 s`, `4 min 0 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def say(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


class Step:
    """One piece of work under way; `note` says how far it is."""

    def __init__(self, name: str, last_s: float | None) -> None:
        self.name = name
        self.started = time.monotonic()
        self.expected = f" (took {duration(last_s)} last time)" if last_s else ""
        self._detail = ""
        self._ended = threading.Event()

    def note(self, detail: str) -> None:
        """Replaces what is shown beside the elapsed time."""
        self._detail = detail

    def _picture(self) -> str:
        elapsed = duration(time.monotonic() - self.started)
        return f"  {self.name:<11} {elapsed}{self.expected}{'  ' + self._detail if self._detail else ''}"[:WIDTH]

    def watch(self) -> None:
        """Shows the step until it has ended; runs in a thread of its own."""
        live = sys.stdout.isatty()
        if not live:
            say(f"  {self.name:<11} started{self.expected}")
        while not self._ended.wait(FRAME_S if live else HEARTBEAT_S):
            if live:
                sys.stdout.write("\r\033[K" + self._picture())
                sys.stdout.flush()
            else:
                say(self._picture())
        if live:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

    def end(self) -> float:
        """Stops the display and gives the seconds the step took."""
        self._ended.set()
        return time.monotonic() - self.started


class Times:
    """How long each step took last time on this machine, in a small JSON file.

    A file that is missing or damaged costs nothing but the remark.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _read(self) -> dict[str, float]:
        try:
            known = json.loads(self._path.read_text())
            return {str(name): float(seconds) for name, seconds in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def last(self, name: str) -> float | None:
        """Seconds that the step took last time, or None."""
        return self._read().get(name)

    def record(self, name: str, seconds: float) -> None:
        """Remembers for next time."""
        known = self._read() | {name: round(seconds, 1)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        fresh.replace(self._path)


@contextmanager
def step(name: str, times: Times | None = None) -> Iterator[Step]:
    """Shows a step while its body runs, and what it took once it has succeeded."""
    current = Step(name, times.last(name) if times else None)
    watcher = threading.Thread(target=current.watch, daemon=True)
    watcher.start()
    try:
        yield current
    finally:
        took = current.end()
        watcher.join()
    say(f"  {name:<11} done in {duration(took)}")
    if times:
        times.record(name, took)
