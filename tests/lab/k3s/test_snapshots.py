"""Snapshots are taken when the schedule says so, and the newest are kept."""

import datetime as dt
import os
from pathlib import Path

import pytest

from lab.k3s import snapshots

SUNDAY_NOON = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("schedule", "fires"),
    [
        ("0 */12 * * *", True),
        ("* * * * *", True),
        ("0 12 * * 0", True),
        ("0 12 * * 7", True),
        ("@daily", False),
        ("30 12 * * *", False),
        ("0 0-6,18-23 * * *", False),
        ("0 12 1 * 0", True),  # either day is enough when both are restricted
        ("0 12 1 * *", False),
        ("0 12 * 11 1-5", False),
    ],
)
def test_a_schedule_fires_as_cron_would(schedule: str, fires: bool) -> None:
    before = SUNDAY_NOON - dt.timedelta(minutes=1)
    assert (snapshots.next_run(schedule, before) == SUNDAY_NOON) is fires


@pytest.mark.parametrize("schedule", ["0 12 * *", "61 * * * *", "a * * * *", "5-1 * * * *"])
def test_a_schedule_that_is_none_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match="etcd-snapshot-schedule-cron"):
        snapshots.next_run(schedule, SUNDAY_NOON)


def snapshot(folder: Path, name: str, age: int) -> Path:
    file = folder / name
    file.write_bytes(b"x")
    os.utime(file, (1_000_000 - age, 1_000_000 - age))
    return file


def test_only_the_newest_of_this_node_and_name_are_kept(tmp_path: Path) -> None:
    for age in range(7):
        snapshot(tmp_path, f"etcd-snapshot-cp1-{age}", age)
    other = snapshot(tmp_path, "on-demand-cp1-1", 99)
    snapshots.prune_snapshots(tmp_path, "etcd-snapshot", "cp1", 5)
    kept = [found.name for found in snapshots.list_snapshots(tmp_path)]
    assert kept == [other.name, *(f"etcd-snapshot-cp1-{age}" for age in (4, 3, 2, 1, 0))]


def test_a_retention_of_zero_keeps_all(tmp_path: Path) -> None:
    snapshot(tmp_path, "etcd-snapshot-cp1-1", 1)
    assert snapshots.prune_snapshots(tmp_path, "etcd-snapshot", "cp1", 0) == []


def test_a_half_written_snapshot_is_none(tmp_path: Path) -> None:
    snapshot(tmp_path, "etcd-snapshot-cp1-1.part", 1)
    assert snapshots.list_snapshots(tmp_path) == []
    snapshots.remove_partial_files(tmp_path)
    assert list(tmp_path.iterdir()) == []
