"""Timer units as systemd reads them, and that they start what they say when they say."""

import asyncio
import calendar
import time
from pathlib import Path

import pytest

from lab.host.guest.timer_runner import TimerRunner, format_list
from lab.host.guest.timers import CalendarEvent, TimerUnit, parse_timer
from lab.host.guest.units import UnitError, parse_sections

HOUR, DAY = 3600, 86400
THURSDAY = calendar.timegm((2026, 1, 1, 12, 30, 15))


@pytest.mark.parametrize(
    ("text", "next_one"),
    [
        ("hourly", (2026, 1, 1, 13, 0, 0)),
        ("daily", (2026, 1, 2, 0, 0, 0)),
        ("weekly", (2026, 1, 5, 0, 0, 0)),
        ("*:0/15", (2026, 1, 1, 12, 45, 0)),
        ("08..10:20", (2026, 1, 2, 8, 20, 0)),
        ("Sat,Sun 06:00", (2026, 1, 3, 6, 0, 0)),
        ("Sat..Mon 06:00", (2026, 1, 3, 6, 0, 0)),
        ("*-02-29", (2028, 2, 29, 0, 0, 0)),
        ("Mon *-*-* 12:30:15", (2026, 1, 5, 12, 30, 15)),
        ("*-*-* 12:30:15", (2026, 1, 2, 12, 30, 15)),
        ("*:*:*", (2026, 1, 1, 12, 30, 16)),
    ],
)
def test_the_next_moment_is_systemds(text: str, next_one: tuple[int, ...]) -> None:
    """Held against `systemd-analyze calendar --base-time='2026-01-01 12:30:15 UTC'`'s rules in systemd.time(7)."""
    assert CalendarEvent.parse(text).after(THURSDAY) == calendar.timegm(next_one)


def test_a_date_that_is_over_never_comes() -> None:
    assert CalendarEvent.parse("2020-01-01").after(THURSDAY) is None


@pytest.mark.parametrize("text", ["soon", "25:00", "*-13-01", "hourly daily", "12:60", "~1"])
def test_what_is_no_calendar_event_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="Failed to parse calendar specification"):
        CalendarEvent.parse(text)


def test_a_timer_starts_the_service_of_its_name_unless_it_says_another() -> None:
    own = parse_timer(
        "backup.timer", parse_sections("[Timer]\nOnCalendar=hourly\nRandomizedDelaySec=10min\nPersistent=true\n")
    )

    assert (own.activates, own.delay, own.persistent) == ("backup.service", 600.0, True)
    assert (
        parse_timer("a.timer", parse_sections("[Timer]\nOnCalendar=daily\nUnit=b.service\n")).activates == "b.service"
    )


def test_a_timer_that_counts_from_something_else_than_the_clock_is_refused_rather_than_ignored() -> None:
    with pytest.raises(UnitError, match="OnBootSec= is unknown in the lab"):
        parse_timer("a.timer", parse_sections("[Timer]\nOnCalendar=hourly\nOnBootSec=5min\n"))


def test_a_timer_without_a_moment_is_refused_in_systemds_words() -> None:
    with pytest.raises(UnitError, match="Timer unit lacks value setting"):
        parse_timer("a.timer", parse_sections("[Timer]\nPersistent=yes\n"))


class Counter:
    """A manager whose only service counts its starts."""

    def __init__(self) -> None:
        self.starts = 0
        self.started = asyncio.Event()

    def runner(self, name: str) -> "Counter":
        if name != "job.service":
            raise UnitError(f"Unit {name} not found.")
        return self

    async def start(self) -> bool:
        self.starts += 1
        self.started.set()
        return True


def alarm(
    manager: Counter, stamps: Path, text: str, *, persistent: bool = False, activates: str = "job.service"
) -> TimerRunner:
    unit = TimerUnit("job.timer", "", activates, (CalendarEvent.parse(text),), persistent=persistent)
    return TimerRunner(manager, unit, stamps)  # type: ignore[arg-type]  # a service is all that it starts


def test_its_service_is_started_when_the_moment_comes(tmp_path: Path) -> None:
    async def run() -> None:
        manager = Counter()
        one = alarm(manager, tmp_path, "*:*:*")
        await one.start()
        await asyncio.wait_for(manager.started.wait(), 30)
        assert one.last is not None
        await one.stop()
        assert (one.active, one.next) == ("inactive", None)

    asyncio.run(run())


@pytest.mark.parametrize(("persistent", "starts"), [(True, 1), (False, 0)])
def test_a_start_that_was_missed_is_made_up_for_where_the_timer_is_persistent(
    tmp_path: Path, *, persistent: bool, starts: int
) -> None:
    async def run() -> int:
        manager = Counter()
        one = alarm(
            manager, tmp_path, f"*-*-* {time.strftime('%H:%M', time.gmtime(time.time() - HOUR))}", persistent=persistent
        )
        one._write_stamp(time.time() - 2 * DAY)
        await one.start()
        if starts:
            await asyncio.wait_for(manager.started.wait(), 60)
        await asyncio.sleep(0.1)
        await one.stop()
        return manager.starts

    assert asyncio.run(run()) == starts


def test_the_first_time_nothing_was_missed(tmp_path: Path) -> None:
    async def run() -> int:
        manager = Counter()
        one = alarm(manager, tmp_path, "daily", persistent=True)
        await one.start()
        await asyncio.sleep(0.1)
        assert one.next
        assert one.next > time.time()
        await one.stop()
        return manager.starts

    assert asyncio.run(run()) == 0


def test_a_timer_without_its_service_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UnitError, match=r"Unit gone\.service not found"):
        asyncio.run(alarm(Counter(), tmp_path, "daily", activates="gone.service").start())


def test_the_list_shows_what_comes_next_first(tmp_path: Path) -> None:
    late, soon = alarm(Counter(), tmp_path, "daily"), alarm(Counter(), tmp_path, "hourly")
    late.next, soon.next, soon.last = THURSDAY + 2.0 * HOUR, THURSDAY + 90.0, THURSDAY - 5.0
    lines = format_list([late, soon], THURSDAY).splitlines()

    assert lines[0].split() == ["NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES"]
    assert lines[1].startswith("Thu 2026-01-01 12:31:45 UTC  1min 30s  Thu 2026-01-01 12:30:10 UTC  5s ago  job.timer")
    assert lines[2].startswith("Thu 2026-01-01 14:30:15 UTC  2h 0min   -")
    assert lines[-1] == "2 timers listed."
