"""Which snapshot lies where, how old it is, and what is worrying about it. Pure: what each place says in, lines out."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from ops.backup.metadata import SnapshotMetadata
from ops.clients.kubernetes import Object

S3 = "S3"
LOCAL = "here"
SNAPSHOT_FILES_PATH = "/apis/k3s.cattle.io/v1/etcdsnapshotfiles"
"""Where K3s says which snapshots there are (docs.k3s.io/cli/etcd-snapshot)."""
GRACE_SECONDS = 3600
"""Seconds that a scheduled snapshot may be late."""
_STAMP = re.compile(r"-(\d{9,})$")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_LONGEST = 70
"""Days that are looked at for the longest gap of a schedule."""


@dataclass(frozen=True)
class StoredObject:
    """An object in the bucket.

    Attributes:
        name: Its name below the folder that was listed.
        size: Bytes.
        changed: Last modification, Unix seconds.
    """

    name: str
    size: int
    changed: float


@dataclass(frozen=True)
class SnapshotEntry:
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
class FailedUpload:
    """An upload that failed.

    Attributes:
        time: Unix seconds.
        name: Of the snapshot.
        reason: K3s's error message.
    """

    time: float
    name: str
    reason: str


def snapshot_time(name: str, otherwise: float) -> float:
    """When a snapshot was taken: K3s ends its name with the time."""
    found = _STAMP.search(name)
    return float(found[1]) if found else otherwise


def local_snapshots(files: dict[Path, SnapshotMetadata]) -> list[SnapshotEntry]:
    """Snapshots on this machine."""
    return [
        SnapshotEntry(note.snapshot or file.name, parse_timestamp(note.taken), file.stat().st_size, (LOCAL,))
        for file, note in files.items()
    ]


def stored_snapshots(stored: Iterable[StoredObject]) -> list[SnapshotEntry]:
    """Snapshots in the store."""
    return [SnapshotEntry(one.name, snapshot_time(one.name, one.changed), one.size, (S3,)) for one in stored]


def server_snapshots(items: Iterable[Object]) -> list[SnapshotEntry]:
    """Snapshots on servers' disks, out of the cluster's ETCDSnapshotFile objects."""
    return [
        SnapshotEntry(
            item["spec"]["snapshotName"],
            parse_timestamp(item["status"]["creationTime"]),
            int(item["status"].get("size") or 0),
            (item["spec"]["nodeName"],),
        )
        for item in items
        if item["spec"]["nodeName"] != "s3" and not item["status"].get("error")
    ]


def failed_uploads(items: Iterable[Object]) -> list[FailedUpload]:
    """Uploads that failed, newest last; K3s remembers them for a day."""
    found = [
        FailedUpload(parse_timestamp(error["time"]), item["spec"]["snapshotName"], str(error.get("message", "")))
        for item in items
        if item["spec"]["nodeName"] == "s3" and (error := item["status"].get("error"))
    ]
    return sorted(found, key=lambda failure: failure.time)


def merge_entries(*lists: Sequence[SnapshotEntry]) -> list[SnapshotEntry]:
    """One line a snapshot, oldest first, with all its places."""
    found: dict[str, SnapshotEntry] = {}
    for one in (one for snapshots in lists for one in snapshots):
        known = found.get(one.name)
        if known is None:
            found[one.name] = one
        else:
            found[one.name] = replace(known, places=(*known.places, *one.places))
    return sorted(found.values(), key=lambda one: (one.taken, one.name))


def surplus_snapshots(stored: Iterable[StoredObject], keep: int) -> list[str]:
    """What may go from the store: all but the newest of each server and kind.

    K3s itself prunes nothing whose settings came out of a Secret.
    """
    kinds: dict[str, list[tuple[float, str]]] = {}
    for one in stored:
        kinds.setdefault(_STAMP.sub("", one.name), []).append((snapshot_time(one.name, one.changed), one.name))
    return [name for known in kinds.values() for _, name in sorted(known)[:-keep]]


def snapshot_warnings(
    stored: Sequence[SnapshotEntry], failed: Sequence[FailedUpload], schedule: str, now: float, stack: str
) -> list[str]:
    """What is wrong with the snapshots in the store, in one line each."""
    newest = max((one.taken for one in stored), default=None)
    found = []
    if failed and (newest is None or failed[-1].time > newest):
        last = failed[-1]
        found.append(f"the last upload to S3 failed {format_age(now - last.time)} ago ({last.name}): {last.reason}")
    if newest is None:
        found.append(f"no snapshot lies in S3 yet: ./lyceum backup now {stack}")
    elif now - newest > longest_interval(schedule) + GRACE_SECONDS:
        found.append(
            f"the newest snapshot in S3 is {format_age(now - newest)} old, and one is due by `{schedule}`: are the servers up, "
            f"and does the bucket take them? ./lyceum backup now {stack} tells"
        )
    return found


def longest_interval(schedule: str) -> float:
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


def format_age(seconds: float) -> str:
    """A time as people say it: `4 min`, `7 h`, `3 days`."""
    minutes = max(0, int(seconds // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def format_timestamp(seconds: float) -> str:
    """A moment as notes have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def format_time(seconds: float) -> str:
    """The same for people, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def parse_timestamp(text: str) -> float:
    """Seconds since 1970 of a moment as K3s and our notes write it, `2026-01-02T06:00:00Z`."""
    return datetime.fromisoformat(text).timestamp()
