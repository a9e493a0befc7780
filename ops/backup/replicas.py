"""Snapshot copies on the maintenance machines: which exist, and whether the timer that makes them runs."""

import json
import time
from dataclasses import dataclass
from typing import Any

from components.cluster.snapshot_access import COPIES, TIMER
from config.hosts import Role
from ops.backup.inventory import SnapshotEntry, format_age, longest_interval, parse_timestamp
from ops.clients.ssh import Remote, RemoteError, remotes
from ops.engine.engine import Engine
from ops.engine.stack import Stack

STALE_SECONDS = 3 * 3600
"""Seconds without a run after which it is reported; the timer runs every hour."""
STATUS_SCRIPT = f"""systemctl is-active {TIMER}.timer || true
cat {COPIES}/status.json 2>/dev/null || true
"""


@dataclass(frozen=True)
class ReplicaStatus:
    """The snapshot copies on one maintenance machine.

    Attributes:
        machine: Name of the machine.
        problem: Why the copies cannot be relied on; empty if they can.
        notes: Harmless errors of the last run.
        files: The copies, oldest first: `file`, `size` and the fields of SnapshotMetadata.
    """

    machine: str
    problem: str
    notes: tuple[str, ...] = ()
    files: tuple[dict[str, Any], ...] = ()

    @property
    def newest(self) -> str:
        """Time of the newest copy, UTC; empty if there is none."""
        return str(self.files[-1]["taken"]) if self.files else ""


def gather_replicas(engine: Engine) -> list[ReplicaStatus]:
    """Reads the status of the copies from every maintenance machine of a stack."""
    nodes = tuple(node for node in engine.stack.nodes if node.role is Role.MAINTENANCE)
    if not nodes:
        return []
    known = remotes(engine, nodes)
    return [_read_status(known.get(node.name), node.name, engine.stack) for node in nodes]


def _read_status(remote: Remote | None, name: str, stack: Stack) -> ReplicaStatus:
    if remote is None:
        return ReplicaStatus(name, f"the machine does not exist yet: ./lyceum up {stack.name}")
    try:
        timer, _, status = remote.run(STATUS_SCRIPT).partition("\n")
    except RemoteError as error:
        return ReplicaStatus(name, str(error))
    found = json.loads(status) if status.strip() else None
    return assess_replicas(name, timer, found, stack.site.k3s.snapshots.schedule, time.time())


def assess_replicas(name: str, timer: str, status: dict[str, Any] | None, schedule: str, now: float) -> ReplicaStatus:
    """Turns a machine's answers into a status.

    Args:
        name: The machine.
        timer: Output of `systemctl is-active` for its timer.
        status: Content of the status file of its last run; None before the first run.
        schedule: Cron schedule of the servers' snapshots.
        now: Unix seconds.
    """
    messages = tuple(status["told"]) if status else ()
    files = tuple(status["copies"]) if status else ()
    if timer != "active":
        problem = f"its timer is {timer}; ./lyceum up starts it; see `journalctl -u {TIMER}` on the machine"
    elif status is None:
        problem = ""  # the timer has not run yet
    elif not status["ok"]:
        problem = "; ".join(messages)
    elif (silent := now - parse_timestamp(status["ran"])) >= STALE_SECONDS:
        problem = f"its last run was {format_age(silent)} ago; see `journalctl -u {TIMER}` on the machine"
    elif (old := now - parse_timestamp(files[-1]["taken"] if files else status["first"])) > longest_interval(
        schedule
    ) + STALE_SECONDS:
        problem = f"no snapshot for {format_age(old)}, though the schedule is `{schedule}`: check the servers"
    else:
        return ReplicaStatus(name, "", messages, files)
    return ReplicaStatus(name, problem, files=files)


def describe_replicas(status: ReplicaStatus) -> str:
    """The status in one line."""
    if status.problem:
        return f"{status.machine}: {status.problem}"
    copies = f"{len(status.files)}, the newest of {status.newest}" if status.files else "none yet"
    return "; ".join([f"{status.machine}: {copies}", *status.notes])


def replica_snapshots(replicas: list[ReplicaStatus]) -> list[SnapshotEntry]:
    """The copies as entries of the inventory."""
    return [
        SnapshotEntry(file["snapshot"], parse_timestamp(file["taken"]), file["size"], (replica.machine,))
        for replica in replicas
        for file in replica.files
    ]
