"""Which snapshot lies where, how old it is, and what is worrying about it. Pure: what each place says in, lines out."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from ops.backup.metadata import Note
from ops.clients.kubernetes import Object

S3 = "S3"
HERE = "here"
FILES = "/apis/k3s.cattle.io/v1/etcdsnapshotfiles"
"""Where K3s says which snapshots there are (docs.k3s.io/cli/etcd-snapshot)."""
GRACE = 3600
"""Seconds that a scheduled snapshot may be late."""
_STAMP = re.compile(r"-(\d{9,})$")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_LONGEST = 70
"""Days that are looked at for the longest gap of a schedule."""


class Stored(Protocol):
    """An object in the store."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def changed(self) -> float:
        """Unix seconds."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, wherever it lies.

    Attributes:
        name: As K3s named it.
        taken: Unix seconds.
        size: Bytes.
        places: Where it is: `here`, `S3`, names of servers.
    """

    name: str
    taken: float
    size: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """An upload that failed.

    Attributes:
        when: Unix seconds.
        name: Of the snapshot.
        why: As K3s says it.
    """

    when: float
    name: str
    why: str


def taken_at(name: str, otherwise: float) -> float:
    """When a snapshot was taken: K3s ends its name with the time."""
    found = _STAMP.search(name)
    return float(found[1]) if found else otherwise


def here(files: dict[Path, Note]) -> list[Snapshot]:
    """Snapshots on this machine."""
    return [
        Snapshot(note.snapshot or file.name, seconds_of(note.taken), file.stat().st_size, (HERE,))
        for file, note in files.items()
    ]


def in_store(stored: Iterable[Stored]) -> list[Snapshot]:
    """Snapshots in the store."""
    return [Snapshot(one.name, taken_at(one.name, one.changed), one.size, (S3,)) for one in stored]


def on_servers(items: Iterable[Object]) -> list[Snapshot]:
    """Snapshots on servers' disks, out of the cluster's ETCDSnapshotFile objects."""
    return [
        Snapshot(
            item["spec"]["snapshotName"],
            seconds_of(item["status"]["creationTime"]),
            int(item["status"].get("size") or 0),
            (item["spec"]["nodeName"],),
        )
        for item in items
        if item["spec"]["nodeName"] != "s3" and not item["status"].get("error")
    ]


def failures(items: Iterable[Object]) -> list[Failure]:
    """Uploads that failed, newest last; K3s remembers them for a day."""
    found = [
        Failure(seconds_of(error["time"]), item["spec"]["snapshotName"], str(error.get("message", "")))
        for item in items
        if item["spec"]["nodeName"] == "s3" and (error := item["status"].get("error"))
    ]
    return sorted(found, key=lambda failure: failure.when)


def merged(*lists: Sequence[Snapshot]) -> list[Snapshot]:
    """One line a snapshot, oldest first, with all its places."""
    found: dict[str, Snapshot] = {}
    for one in (one for snapshots in lists for one in snapshots):
        known = found.get(one.name)
        if known is None:
            found[one.name] = one
        else:
            found[one.name] = replace(known, places=(*known.places, *one.places))
    return sorted(found.values(), key=lambda one: (one.taken, one.name))


def surplus(stored: Iterable[Stored], keep: int) -> list[str]:
    """What may go from the store: all but the newest of each server and kind.

    K3s itself prunes nothing whose settings came out of a Secret.
    """
    kinds: dict[str, list[tuple[float, str]]] = {}
    for one in stored:
        kinds.setdefault(_STAMP.sub("", one.name), []).append((taken_at(one.name, one.changed), one.name))
    return [name for known in kinds.values() for _, name in sorted(known)[:-keep]]


def worries(stored: Sequence[Snapshot], failed: Sequence[Failure], schedule: str, now: float, stack: str) -> list[str]:
    """What is wrong with the snapshots in the store, in one line each."""
    newest = max((one.taken for one in stored), default=None)
    found = []
    if failed and (newest is None or failed[-1].when > newest):
        last = failed[-1]
        found.append(f"the last upload to S3 failed {age(now - last.when)} ago ({last.name}): {last.why}")
    if newest is None:
        found.append(f"no snapshot lies in S3 yet: ./lyceum backup now {stack}")
    elif now - newest > longest_gap(schedule) + GRACE:
        found.append(
            f"the newest snapshot in S3 is {age(now - newest)} old, and one is due by `{schedule}`: are the servers up, "
            f"and does the bucket take them? ./lyceum backup now {stack} tells"
        )
    return found


def longest_gap(schedule: str) -> float:
    """Seconds between two runs at most; of a schedule that is rarer or written in words, the longest that is looked at."""
    try:
        minutes, hours, days, months, weekdays = (
            _field(part, low, high) for part, (low, high) in zip(schedule.split(), _RANGES, strict=True)
        )
    except ValueError:
        return timedelta(days=_LONGEST).total_seconds()
    any_day, any_weekday = len(days) == 31, len({day % 7 for day in weekdays}) == 7
    times = sorted(hour * 3600 + minute * 60 for hour in hours for minute in minutes)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    runs: list[float] = []
    for offset in range(_LONGEST):
        day = start + timedelta(days=offset)
        by_day, by_weekday = day.day in days, bool({day.isoweekday(), day.isoweekday() % 7} & weekdays)
        # As cron: where both are restricted, either is enough.
        fits = by_day and by_weekday if any_day or any_weekday else by_day or by_weekday
        if fits and day.month in months:
            runs += [day.timestamp() + second for second in times]
    gaps = [later - earlier for earlier, later in pairwise(runs)]
    return max(gaps, default=timedelta(days=_LONGEST).total_seconds())


def _field(part: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for piece in part.split(","):
        span, _, step = piece.partition("/")
        first, dash, last = span.partition("-")
        begin = low if first == "*" else int(first)
        end = int(last) if dash else high if first == "*" or step else begin
        values |= set(range(begin, end + 1, int(step or 1)))
    if not values:
        raise ValueError(part)
    return values


def age(seconds: float) -> str:
    """A time as people say it: `4 min`, `7 h`, `3 days`."""
    minutes = max(0, int(seconds // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def written(seconds: float) -> str:
    """A moment as notes have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def moment(seconds: float) -> str:
    """The same for people, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a moment as K3s and our notes write it, `2026-01-02T06:00:00Z`."""
    return datetime.fromisoformat(text).timestamp()
