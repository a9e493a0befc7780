"""Settings of the calendar: when the hosts are used by their owners, and when by the cluster."""

import datetime as dt
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from config.base import DnsLabel, InvalidValueError, Model, Pattern

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 24 * 60


def _validate_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a directory's name is an OSError
        raise InvalidValueError("is not a valid time zone", "write it as in `Europe/Vienna` (IANA)") from None
    return name


def _parse_days(value: object) -> object:
    """Reads `mon-fri`, `sat`, or a list of both; ranges may wrap around the week's end."""
    days: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        first, dash, last = str(item).lower().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            remedy = f"write `mon-fri`, `sat` or a list of {', '.join(DAYS)}"
            raise InvalidValueError("contains a day that does not exist", remedy)
        start = DAYS.index(first)
        length = (DAYS.index(last) - start) % 7 + 1 if dash else 1
        days += [DAYS[(start + n) % 7] for n in range(length)]
    return tuple(dict.fromkeys(days))


ClockTime = Annotated[
    str,
    Pattern(r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$", "is not a valid time of day", "write it as in `08:00`, in quotes"),
]
"""A time of day, `08:00` to `24:00`."""
Days = Annotated[
    tuple[str, ...], BeforeValidator(_parse_days, json_schema_input_type=str | list[str]), Field(min_length=1)
]
"""Days of the week: `mon-fri`, `sat`, or a list."""


class CalendarUse(StrEnum):
    """Who uses the machines."""

    OWNERS = "owners"
    """The people at the machines: players, a class in the room."""
    CLUSTER = "cluster"
    """Workloads of the cluster."""


class Period(Model):
    """A period of the week."""

    name: DnsLabel
    """Its name: `day`, `night`, `weekend`."""
    days: Days
    """The days on which it starts."""
    start: ClockTime
    """When it starts."""
    end: ClockTime
    """When it ends; an earlier time than `start` is on the next day."""
    use: CalendarUse
    """Who uses the machines in it."""

    def week_minutes(self) -> Iterator[tuple[int, int]]:
        """Start and end of each occurrence in minutes from Monday 00:00, end excluded; Sunday night wraps to Monday."""
        start, end = _minute_of_day(self.start), _minute_of_day(self.end)
        length = (end - start) % MINUTES_A_DAY or MINUTES_A_DAY
        for day in self.days:
            first = DAYS.index(day) * MINUTES_A_DAY + start
            last, week = first + length, 7 * MINUTES_A_DAY
            yield first, min(last, week)
            if last > week:
                yield 0, last - week


def _minute_of_day(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)


class Calendar(Model):
    """Who uses the machines when (R10, R11)."""

    time_zone: Annotated[str, AfterValidator(_validate_time_zone)]
    """Time zone by its IANA name: `Europe/Vienna`."""
    periods: tuple[Period, ...] = Field(min_length=1)
    """Periods of the week; the owners have the machines outside all periods."""
    notice: int = Field(default=15, ge=1, le=240)
    """Minutes between the warning to workloads and their end."""
    closed: tuple[dt.date, ...] = ()
    """Holidays: days on which the cluster has the machines all day."""
