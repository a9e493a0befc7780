"""The life of one timer: it waits for its moment, starts its unit, and remembers when, across a power failure too."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lab.host.guest.services import LOGS, ActiveState, ServiceRunner
from lab.host.guest.timers import TimerUnit

STAMPS = Path("/var/lib/systemd/timers")
"""Its modification time says when a persistent timer last started its unit; systemd's own place."""
POLL_SECONDS = 30.0
"""The clock is looked at so often: a machine that was frozen has missed some of its ticks."""


class RunnerLookup(Protocol):
    """What a timer needs of the manager."""

    def runner(self, name: str) -> "ServiceRunner | TimerRunner": ...  # noqa: D102


class TimerRunner:
    """One timer under the manager; it answers what a service's `Runner` answers."""

    main_pid = main_status = restarts = 0
    result, invocation = "success", ""

    def __init__(self, manager: RunnerLookup, unit: TimerUnit, stamps: Path = STAMPS) -> None:
        self.unit = unit
        self.active = ActiveState.INACTIVE
        self.sub = "dead"
        self.since = time.time()
        self.next: float | None = None
        """When it starts its unit next, in seconds since 1970."""
        self.last: float | None = None
        """When it last did."""
        self._manager = manager
        self._stamps = stamps
        self._life: asyncio.Task[None] | None = None

    @property
    def log(self) -> Path:
        """Where its own words would go; it has none."""
        return LOGS / f"{self.unit.name}.log"

    async def start(self, *, wait: bool = True) -> bool:  # noqa: ARG002 - a timer is up at once
        """Start waiting; a persistent timer catches up on a start that was missed.

        Raises:
            UnitError: the unit that it starts is not there.
        """
        self._manager.runner(self.unit.activates)
        if self._life is None or self._life.done():
            self._set_state(ActiveState.ACTIVE, "waiting")
            self._life = asyncio.create_task(self._wait_and_start())
        return True

    async def stop(self) -> None:
        """Stop waiting; what it started continues."""
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
        self.next = None
        self._set_state(ActiveState.INACTIVE, "dead")

    def kill(self, number: signal.Signals, *, whom: str) -> None:
        """There is no process to signal."""

    async def _wait_and_start(self) -> None:
        base = self._read_stamp() if self.unit.persistent else time.time()
        while (due := self.unit.next(base)) is not None:
            # A start that was missed is delayed like any other (systemd.timer(5), Persistent=).
            self.next = max(due, time.time()) + random.uniform(0, self.unit.delay)  # noqa: S311 - no secret
            while (left := self.next - time.time()) > 0:  # noqa: ASYNC110 - the clock has no event
                await asyncio.sleep(min(left, POLL_SECONDS))
            base = self.last = time.time()
            self._write_stamp(base)
            self.sub = "running"
            await self._manager.runner(self.unit.activates).start()
            self.sub = "waiting"
        self.next = None
        self.sub = "elapsed"

    def _read_stamp(self) -> float:
        """When it last started its unit; the first time, now."""
        file = self._stamps / f"stamp-{self.unit.name}"
        if not file.exists():
            self._write_stamp(time.time())
        return file.stat().st_mtime

    def _write_stamp(self, moment: float) -> None:
        if self.unit.persistent:
            self._stamps.mkdir(parents=True, exist_ok=True)
            file = self._stamps / f"stamp-{self.unit.name}"
            file.touch()
            os.utime(file, (moment, moment))

    def _set_state(self, active: ActiveState, sub: str) -> None:
        if active is not self.active:
            self.since = time.time()
        self.active, self.sub = active, sub


def format_list(alarms: Iterable[TimerRunner], now: float) -> str:
    """What `systemctl list-timers` prints: the next one first."""
    rows = [("NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES")]
    ordered = sorted(alarms, key=lambda alarm: (alarm.next is None, alarm.next or 0.0))
    for alarm in ordered:
        left = _format_span(alarm.next - now) if alarm.next else "-"
        passed = f"{_format_span(now - alarm.last)} ago" if alarm.last else "-"
        rows.append(
            (format_time(alarm.next), left, format_time(alarm.last), passed, alarm.unit.name, alarm.unit.activates)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "".join(f"{line}\n" for line in [*lines, "", f"{len(ordered)} timers listed."])


def format_time(moment: float | None) -> str:
    """A moment as systemctl prints it; `-` for none."""
    return time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(moment)) if moment else "-"


def _format_span(seconds: float) -> str:
    whole = int(max(seconds, 0))
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}h {minutes}min" if hours else f"{minutes}min {whole % 60}s" if minutes else f"{whole}s"
