"""Which snapshot is stored where, and warnings about them."""

from pathlib import Path
from typing import Any

import pytest

from ops.backup.inventory import (
    FailedUpload,
    SnapshotEntry,
    StoredObject,
    failed_uploads,
    format_age,
    local_snapshots,
    longest_interval,
    merge_entries,
    server_snapshots,
    snapshot_time,
    snapshot_warnings,
    stored_snapshots,
    surplus_snapshots,
)
from ops.backup.metadata import SnapshotMetadata, write_metadata

HOUR = 3600
NOW = 1_800_000_000.0
EVERY_SIX_HOURS = "0 */6 * * *"


def stored(name: str) -> StoredObject:
    return StoredObject(name, 1, NOW)


def file_object(name: str, node: str, error: str = "") -> dict[str, Any]:
    status: dict[str, Any] = {"creationTime": "2027-01-15T08:00:00Z", "size": "1024"}
    if error:
        status["error"] = {"time": "2027-01-15T08:00:00Z", "message": error}
    return {"spec": {"snapshotName": name, "nodeName": node}, "status": status}


def in_s3(*hours: float) -> list[SnapshotEntry]:
    return stored_snapshots(stored(f"etcd-snapshot-server-1-{int(NOW - hour * HOUR)}") for hour in hours)


def test_the_time_of_a_snapshot_is_read_from_its_name() -> None:
    """The modification time of a late upload or a copy is not the time of the snapshot."""
    assert snapshot_time("etcd-snapshot-server-1-1795328801", 5) == 1795328801
    assert snapshot_time("by-hand", 5) == 5
    assert snapshot_time("release-2026", 5) == 5


def test_a_snapshot_in_three_places_is_one_entry(tmp_path: Path) -> None:
    name = f"lyceum-server-1-{int(NOW)}"
    file = tmp_path / "a.db"
    file.write_bytes(b"x")
    note = SnapshotMetadata("arena", "dev", "2027-01-15T08:00:05Z", "server-1", "v1", 5, "", "", "", name)
    write_metadata(file, note)
    found = merge_entries(
        server_snapshots([file_object(name, "server-1")]),
        local_snapshots({file: note}),
        stored_snapshots([stored(name)]),
    )

    assert [(one.name, one.places) for one in found] == [(name, ("server-1", "here", "S3"))]


def test_server_snapshots_exclude_s3_and_failed_ones() -> None:
    """The store lists its own objects: the cluster's list of them can be outdated."""
    items = [file_object("a", "server-1"), file_object("b", "s3"), file_object("c", "server-2", "disk full")]

    assert [one.name for one in server_snapshots(items)] == ["a"]


def test_a_failed_upload_gives_a_warning_with_k3s_reason() -> None:
    failed = failed_uploads([file_object("a", "s3", "bucket x does not exist"), file_object("b", "s3")])
    reported = snapshot_warnings(in_s3(24), failed, EVERY_SIX_HOURS, failed[0].time + HOUR, "prod")

    assert any("the last upload to S3 failed 60 min ago (a): bucket x does not exist" in line for line in reported)


def test_a_failure_before_the_newest_snapshot_gives_no_warning() -> None:
    old = [FailedUpload(NOW - 5 * HOUR, "a", "gone")]

    assert snapshot_warnings(in_s3(1), old, EVERY_SIX_HOURS, NOW, "prod") == []


def test_an_empty_store_gives_a_warning_with_the_command() -> None:
    assert snapshot_warnings([], [], EVERY_SIX_HOURS, NOW, "prod") == [
        "there is no snapshot in S3 yet: ./lyceum backup now prod"
    ]


def test_a_snapshot_older_than_the_schedule_allows_gives_a_warning() -> None:
    assert snapshot_warnings(in_s3(6.9), [], EVERY_SIX_HOURS, NOW, "prod") == []
    [line] = snapshot_warnings(in_s3(30, 8), [], EVERY_SIX_HOURS, NOW, "prod")

    assert "the newest snapshot in S3 is 8 h old" in line


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        (EVERY_SIX_HOURS, 6),
        ("0 2 * * *", 24),
        ("30 1,13 * * *", 12),
        ("*/15 * * * *", 0.25),
        ("0 8-18/5 * * *", 14),
        ("0 2 * * 0", 7 * 24),
        ("0 2 * * 7", 7 * 24),
        ("0 2 * * 1-5", 3 * 24),
        ("0 2 1 * *", 31 * 24),
        ("0 2 1,15 * 1", 7 * 24),
        ("0 2 * * mon", 7 * 24),
        ("0 2 1 jan,jul *", 70 * 24),
        ("@weekly", 70 * 24),
    ],
)
def test_longest_interval_of_a_schedule(schedule: str, hours: float) -> None:
    """A schedule that cannot be read gives the longest interval: a late warning, but never a false one."""
    assert longest_interval(schedule) == hours * HOUR


def test_the_newest_snapshots_of_each_server_and_kind_are_kept() -> None:
    """K3s does not prune snapshots whose settings come from a Secret, and would count those of all servers together."""
    kinds = ("etcd-snapshot-server-1", "etcd-snapshot-server-2", "lyceum-server-1")
    objects = [stored(f"{kind}-{1_700_000_000 + number}") for kind in kinds for number in range(4)]

    gone = surplus_snapshots(objects, 3)
    assert sorted(gone) == sorted(f"{kind}-1700000000" for kind in kinds)
    assert surplus_snapshots(objects, 4) == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "0 min"), (3600, "60 min"), (8 * HOUR, "8 h"), (72 * HOUR, "3 days"), (-5, "0 min")]
)
def test_durations_are_formatted_for_people(seconds: float, words: str) -> None:
    assert format_age(seconds) == words
