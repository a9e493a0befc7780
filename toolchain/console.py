"""Progress of long work: one updated line on a terminal, a line now and then in a log."""

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

HEARTBEAT_S = 60.0  # between two lines in a log
FRAME_S = 0.5  # between two updates of the line on a terminal
WIDTH = 100  # of that line; a longer one would wrap and could not be overwritten


def duration(seconds: float) -> str:
    """Seconds as text: `0.4 s`, `12 s`, `4 min 0 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def print_line(text: str) -> None:
    """Prints a line without buffering, also into a pipe."""
    print(text, flush=True)


class Step:
    """One piece of running work; `note` sets its progress."""

    def __init__(self, name: str, last_s: float | None) -> None:
        self.name = name
        self.started = time.monotonic()
        self.expected = f" (took {duration(last_s)} last time)" if last_s else ""
        self._detail = ""
        self._ended = threading.Event()

    def note(self, detail: str) -> None:
        """Replaces what is shown beside the elapsed time."""
        self._detail = detail

    def _render(self) -> str:
        elapsed = duration(time.monotonic() - self.started)
        return f"  {self.name:<11} {elapsed}{self.expected}{'  ' + self._detail if self._detail else ''}"[:WIDTH]

    def watch(self) -> None:
        """Shows the step until it has ended; runs in a thread."""
        live = sys.stdout.isatty()
        if not live:
            print_line(f"  {self.name:<11} started{self.expected}")
        while not self._ended.wait(FRAME_S if live else HEARTBEAT_S):
            if live:
                sys.stdout.write("\r\033[K" + self._render())
                sys.stdout.flush()
            else:
                print_line(self._render())
        if live:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

    def end(self) -> float:
        """Stops the display; returns the seconds that the step took."""
        self._ended.set()
        return time.monotonic() - self.started


class Times:
    """How long each step took last time on this machine, in a small JSON file; a missing or damaged file is ignored."""

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
        """Stores the seconds that a step took."""
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
    print_line(f"  {name:<11} done in {duration(took)}")
    if times:
        times.record(name, took)
