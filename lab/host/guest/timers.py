"""Timer units: the part of systemd.timer(5) and of systemd.time(7)'s calendar events that a node uses. Pure.

A timer that the lab could not run on time is refused, as is one that counts from something other than the clock.
"""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.host.guest.units import Sections, UnitError, parse_span

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
SHORTHANDS = {
    "minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00", "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00", "yearly": "*-01-01 00:00:00",
}  # fmt: skip
_CLOCKLESS = ("OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec", "OnClockChange")
_DAYS = 366 * 8
"""How far ahead the next moment is looked for: a 29 February is never further away."""


@dataclass(frozen=True)
class CalendarEvent:
    """A calendar event, in the machine's time, which is UTC."""

    weekdays: frozenset[int]
    date: tuple[frozenset[int], frozenset[int], frozenset[int]]
    """Years, months, days."""
    time: tuple[frozenset[int], frozenset[int], frozenset[int]]
    """Hours, minutes, seconds."""

    @classmethod
    def parse(cls, text: str) -> "CalendarEvent":
        """Read `hourly`, `Mon..Fri *-*-* 08:00`, `*:0/15`.

        Raises:
            UnitError: it is not a calendar event, or one that the lab does not know.
        """
        words = SHORTHANDS.get(text, text).split()
        try:
            weekdays = _weekdays(words.pop(0)) if words and words[0][0].isalpha() else frozenset(range(7))
            date = words.pop(0) if words and "-" in words[0] else "*-*-*"
            time = words.pop(0) if words and ":" in words[0] else "00:00:00"
            [] = words  # every word has been one of the three
            year, month, day = date.split("-")
            hour, minute, *second = time.split(":")
            return cls(
                weekdays,
                (_parse_field(year, 1970, 2199), _parse_field(month, 1, 12), _parse_field(day, 1, 31)),
                (_parse_field(hour, 0, 23), _parse_field(minute, 0, 59), _parse_field((second or ["00"])[0], 0, 59)),
            )
        except (ValueError, IndexError) as error:
            raise UnitError(f"Failed to parse calendar specification '{text}': {error}") from None

    def after(self, moment: float) -> float | None:
        """The first moment after this one, both in seconds since 1970; None where there is none."""
        start = dt.datetime.fromtimestamp(moment, dt.UTC)
        for number in range(_DAYS):
            day = start.date() + dt.timedelta(days=number)
            if day.weekday() not in self.weekdays or not self._on(day):
                continue
            for time in self._times():
                found = dt.datetime.combine(day, time, dt.UTC).timestamp()
                if found > moment:
                    return found
        return None

    def _on(self, day: dt.date) -> bool:
        return all(part in allowed for part, allowed in zip((day.year, day.month, day.day), self.date, strict=True))

    def _times(self) -> Iterator[dt.time]:
        hours, minutes, seconds = (sorted(part) for part in self.time)
        return (dt.time(hour, minute, second) for hour in hours for minute in minutes for second in seconds)


def _weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("..")
        low, high = WEEKDAYS.index(first[:3]), WEEKDAYS.index((last or first)[:3])
        found |= {day % 7 for day in range(low, high + 1 if high >= low else high + 8)}
    return frozenset(found)


def _parse_field(text: str, low: int, high: int) -> frozenset[int]:
    """One component of a calendar event: `*`, `5`, `1,15`, `8..17`, `0/15`."""
    found: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:\.\.(\d+))?)(?:/(\d+))?", item)
        if match is None:
            raise ValueError(f"`{item}` is not a value, a range or a step")
        first, last, step = match.groups()
        start = int(first) if first else low
        end = int(last) if last else high if step or not first else start
        if not low <= start <= end <= high:
            raise ValueError(f"`{item}` is outside {low}..{high}")
        found |= set(range(start, end + 1, int(step or 1)))
    return frozenset(found)


@dataclass(frozen=True)
class TimerUnit:
    """A timer unit as the manager runs it."""

    name: str
    description: str
    activates: str
    """The unit that it starts."""
    calendars: tuple[CalendarEvent, ...]
    delay: float = 0.0
    """Seconds; it starts at random up to so much later."""
    persistent: bool = False
    """Whether a start that was missed while the power was off is made up for."""
    after: tuple[str, ...] = ()

    def next(self, moment: float) -> float | None:
        """The first moment after this one, the random delay left out."""
        found = [later for calendar in self.calendars if (later := calendar.after(moment)) is not None]
        return min(found, default=None)


def parse_timer(name: str, sections: Sections) -> TimerUnit:
    """What the manager needs to know of a timer.

    Raises:
        UnitError: no event, or one that the lab would have to ignore.
    """
    unit, body = sections.get("Unit", {}), sections.get("Timer", {})

    def last(key: str, default: str) -> str:
        return body[key][-1] if body.get(key) else default

    if unknown := [key for key in _CLOCKLESS if body.get(key)]:
        raise UnitError(f"{name}: {unknown[0]}= is unknown in the lab; its timers know OnCalendar=")
    if not body.get("OnCalendar"):
        raise UnitError(f"{name}: Timer unit lacks value setting. Refusing.")
    return TimerUnit(
        name=name,
        description=unit["Description"][-1] if unit.get("Description") else name,
        activates=last("Unit", f"{name.removesuffix('.timer')}.service"),
        calendars=tuple(CalendarEvent.parse(text) for text in body["OnCalendar"]),
        delay=parse_span(last("RandomizedDelaySec", "0")) or 0.0,
        persistent=last("Persistent", "no") in {"yes", "true", "1", "on"},
    )
