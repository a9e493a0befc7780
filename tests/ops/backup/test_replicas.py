"""The answers of a maintenance machine, and the status that follows."""

import calendar
from typing import Any

import pytest

from ops.backup.inventory import SnapshotEntry, merge_entries
from ops.backup.metadata import BackupError
from ops.backup.pull import find_replica
from ops.backup.replicas import ReplicaStatus, assess_replicas, describe_replicas, replica_snapshots
from ops.checks.status import LayerState, NodeState, Report

NOW = calendar.timegm((2026, 1, 2, 12, 0, 0))
COPY = {
    "file": "campus-20260102T060000Z.db",
    "taken": "2026-01-02T06:00:00Z",
    "server": "server-1",
    "snapshot": "etcd-1",
    "size": 7,
}


def answer(**changes: Any) -> dict[str, Any]:
    good = {"ran": "2026-01-02T11:20:00Z", "first": "2026-01-01T00:00:00Z", "ok": True, "told": [], "copies": [COPY]}
    return good | changes


def test_current_copies_have_no_problem() -> None:
    found = assess_replicas("ops-1", "active", answer(), "0 */6 * * *", NOW)

    assert (found.problem, found.newest) == ("", "2026-01-02T06:00:00Z")
    assert describe_replicas(found) == "ops-1: 1, the newest of 2026-01-02T06:00:00Z"


def test_a_new_maintenance_machine_has_no_problem() -> None:
    found = assess_replicas("ops-1", "active", None, "0 */6 * * *", NOW)

    assert (found.problem, describe_replicas(found)) == ("", "ops-1: none yet")


@pytest.mark.parametrize(
    ("timer", "status", "problem"),
    [
        ("inactive", answer(), "its timer is inactive"),
        ("failed", None, "its timer is failed"),
        (
            "active",
            answer(ok=False, told=["server-1: no route", "server-2: no route"]),
            "server-1: no route; server-2: no",
        ),
        ("active", answer(ran="2026-01-02T08:00:00Z"), "its last run was 4 h ago"),
        (
            "active",
            answer(copies=[COPY | {"taken": "2026-01-02T02:00:00Z"}]),
            "no snapshot for 10 h, though the schedule is",
        ),
        ("active", answer(copies=[]), "no snapshot for 36 h"),
    ],
)
def test_unreliable_copies_report_a_problem(timer: str, status: dict[str, Any] | None, problem: str) -> None:
    found = assess_replicas("ops-1", timer, status, "0 */6 * * *", NOW)

    assert found.problem.startswith(problem)
    assert describe_replicas(found).startswith(f"ops-1: {problem}")


def test_a_silent_server_is_a_note_and_not_a_problem() -> None:
    found = assess_replicas(
        "ops-1", "active", answer(told=["server-2: Host key verification failed."]), "0 */6 * * *", NOW
    )

    assert found.problem == ""
    assert describe_replicas(found).endswith("; server-2: Host key verification failed.")


@pytest.mark.parametrize(("problem", "healthy"), [("", True), ("its timer is off", False)])
def test_status_is_not_healthy_when_copies_fail(problem: str, *, healthy: bool) -> None:
    node = NodeState("server-1", "control-plane", ready=True, version="v1", gpus="")
    layer = LayerState("rook-ceph", "rook-ceph", "rook-ceph-v1.20.6", ready=True, waiting="")
    copies = [ReplicaStatus("ops-1", problem)]
    report = Report(
        "campus", "alpha", True, "https://api", "10.0.0.1", [node], [layer], tokens="", backups=[], copies=copies
    )

    assert report.healthy is healthy


def test_latest_is_the_newest_copy_of_all_machines() -> None:
    older = COPY | {"file": "campus-1.db", "taken": "2026-01-01T06:00:00Z"}
    found = [ReplicaStatus("ops-1", "", files=(older,)), ReplicaStatus("ops-2", "", files=(COPY,))]

    assert find_replica(found, "latest") == ("ops-2", COPY)
    assert find_replica(found, "campus-1.db") == ("ops-1", older)


def test_an_unknown_copy_is_refused_with_available_copies_and_problems() -> None:
    found = [ReplicaStatus("ops-1", "no answer in time"), ReplicaStatus("ops-2", "", files=(COPY,))]

    with pytest.raises(
        BackupError, match=r"no maintenance machine has a copy `x`; available: campus-2.*; ops-1: no answer in"
    ):
        find_replica(found, "x")


def test_a_copy_and_its_original_are_one_entry_with_two_places() -> None:
    original = SnapshotEntry("etcd-1", float(NOW), 7, ("server-1",))
    [one] = merge_entries([original], replica_snapshots([ReplicaStatus("ops-1", "", files=(COPY,))]))

    assert one.places == ("server-1", "ops-1")
