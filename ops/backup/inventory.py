"""Inventory of snapshots: where each is stored, how old it is, and warnings about them. Pure functions."""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise, takewhile
from pathlib import Path

from cronsim import CronSim, CronSimError

from ops.backup.metadata import SnapshotMetadata
from ops.clients.kubernetes import Object

S3 = "S3"
LOCAL = "here"
SNAPSHOT_FILES_PATH = "/apis/k3s.cattle.io/v1/etcdsnapshotfiles"
"""API path of K3s's list of snapshots (docs.k3s.io/cli/etcd-snapshot)."""
GRACE_SECONDS = 3600
"""Seconds by which a scheduled snapshot may be late."""
_STAMP = re.compile(r"-(\d{9,})$")
_START, _PERIOD = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=70)
"""The runs of a schedule in this period give its longest interval."""


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
    """One snapshot, with every place that has it.

    Attributes:
        name: Name that K3s gave it.
        taken: Unix seconds.
        size: Bytes.
        places: Where it is stored: `here`, `S3`, names of servers and maintenance machines.
    """

    name: str
    taken: float
    size: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class FailedUpload:
    """A failed upload to S3.

    Attributes:
        time: Unix seconds.
        name: Name of the snapshot.
        reason: K3s's error message.
    """

    time: float
    name: str
    reason: str


def snapshot_time(name: str, default: float) -> float:
    """Time of a snapshot, Unix seconds, from the end of the name that K3s gave it; `default` if there is none."""
    match = _STAMP.search(name)
    return float(match[1]) if match else default


def local_snapshots(files: dict[Path, SnapshotMetadata]) -> list[SnapshotEntry]:
    """Entries of the backups on this machine."""
    return [
        SnapshotEntry(metadata.snapshot or file.name, parse_timestamp(metadata.taken), file.stat().st_size, (LOCAL,))
        for file, metadata in files.items()
    ]


def stored_snapshots(stored: Iterable[StoredObject]) -> list[SnapshotEntry]:
    """Entries of the snapshots in S3."""
    return [
        SnapshotEntry(snapshot.name, snapshot_time(snapshot.name, snapshot.changed), snapshot.size, (S3,))
        for snapshot in stored
    ]


def server_snapshots(items: Iterable[Object]) -> list[SnapshotEntry]:
    """Entries of the snapshots on servers' disks, from the cluster's ETCDSnapshotFile objects."""
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
    """Failed uploads from the cluster's ETCDSnapshotFile objects, newest last; K3s keeps them for a day."""
    found = [
        FailedUpload(parse_timestamp(error["time"]), item["spec"]["snapshotName"], str(error.get("message", "")))
        for item in items
        if item["spec"]["nodeName"] == "s3" and (error := item["status"].get("error"))
    ]
    return sorted(found, key=lambda failure: failure.time)


def merge_entries(*lists: Sequence[SnapshotEntry]) -> list[SnapshotEntry]:
    """One entry for each snapshot with all its places, oldest first."""
    merged: dict[str, SnapshotEntry] = {}
    for entry in chain.from_iterable(lists):
        known = merged.get(entry.name)
        merged[entry.name] = replace(known, places=(*known.places, *entry.places)) if known else entry
    return sorted(merged.values(), key=lambda entry: (entry.taken, entry.name))


def surplus_snapshots(stored: Iterable[StoredObject], keep: int) -> list[str]:
    """Names of snapshots to delete from the store: all but the newest `keep` of each server and kind.

    K3s does not prune snapshots whose S3 settings come from a Secret.
    """
    kinds: dict[str, list[tuple[float, str]]] = {}
    for snapshot in stored:
        kinds.setdefault(_STAMP.sub("", snapshot.name), []).append(
            (snapshot_time(snapshot.name, snapshot.changed), snapshot.name)
        )
    return [name for snapshots in kinds.values() for _, name in sorted(snapshots)[:-keep]]


def snapshot_warnings(
    stored: Sequence[SnapshotEntry], failed: Sequence[FailedUpload], schedule: str, now: float, stack: str
) -> list[str]:
    """Warnings about the snapshots in the store, one line each."""
    newest = max((snapshot.taken for snapshot in stored), default=None)
    warnings = []
    if failed and (newest is None or failed[-1].time > newest):
        last = failed[-1]
        warnings.append(f"the last upload to S3 failed {format_age(now - last.time)} ago ({last.name}): {last.reason}")
    if newest is None:
        warnings.append(f"there is no snapshot in S3 yet: ./lyceum backup now {stack}")
    elif now - newest > longest_interval(schedule) + GRACE_SECONDS:
        warnings.append(
            f"the newest snapshot in S3 is {format_age(now - newest)} old, though the schedule is `{schedule}`: check the "
            f"servers and the bucket with ./lyceum backup now {stack}"
        )
    return warnings


def longest_interval(schedule: str) -> float:
    """Longest time between two runs of a cron schedule, seconds; 70 days if it runs less often or cannot be read."""
    try:
        runs = takewhile(lambda run: run < _START + _PERIOD, CronSim(schedule, _START))
        intervals = [later - earlier for earlier, later in pairwise(runs)]
    except CronSimError:
        intervals = []
    return max(intervals, default=_PERIOD).total_seconds()


def format_age(seconds: float) -> str:
    """A duration for people: `4 min`, `7 h`, `3 days`."""
    minutes = max(0, int(seconds // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def format_timestamp(seconds: float) -> str:
    """A time as metadata holds it: `2026-01-02T06:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def format_time(seconds: float) -> str:
    """A time for people: `2026-01-02 06:00`, UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def parse_timestamp(text: str) -> float:
    """Unix seconds of a time as K3s and our metadata write it, `2026-01-02T06:00:00Z`."""
    return datetime.fromisoformat(text).timestamp()
