"""The copies of etcd snapshots on the operators' machines: which there are, and whether their timer does its work."""

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
"""Seconds without a run after which something is wrong: the timer's are an hour apart."""
STATUS_SCRIPT = f"""systemctl is-active {TIMER}.timer || true
cat {COPIES}/status.json 2>/dev/null || true
"""


@dataclass(frozen=True)
class ReplicaStatus:
    """How the copies on one machine are.

    Attributes:
        machine: The operators' machine.
        problem: Why nobody may rely on them; empty where all is well.
        notes: What went wrong without harm in the last run.
        files: The copies, oldest first: `file` and what its note says.
    """

    machine: str
    problem: str
    notes: tuple[str, ...] = ()
    files: tuple[dict[str, Any], ...] = ()

    @property
    def newest(self) -> str:
        """When the newest was taken, UTC; empty for none."""
        return str(self.files[-1]["taken"]) if self.files else ""


def gather_replicas(engine: Engine) -> list[ReplicaStatus]:
    """Asks every operators' machine of a stack; none where it has none."""
    nodes = tuple(node for node in engine.stack.nodes if node.role is Role.MAINTENANCE)
    if not nodes:
        return []
    known = remotes(engine, nodes)
    return [_read_status(known.get(node.name), node.name, engine.stack) for node in nodes]


def _read_status(remote: Remote | None, name: str, stack: Stack) -> ReplicaStatus:
    if remote is None:
        return ReplicaStatus(name, f"it is not there yet: ./lyceum up {stack.name}")
    try:
        timer, _, status = remote.run(STATUS_SCRIPT).partition("\n")
    except RemoteError as error:
        return ReplicaStatus(name, str(error))
    found = json.loads(status) if status.strip() else None
    return assess_replicas(name, timer, found, stack.site.k3s.snapshots.schedule, time.time())


def assess_replicas(name: str, timer: str, status: dict[str, Any] | None, schedule: str, now: float) -> ReplicaStatus:
    """What a machine's answers mean.

    Args:
        name: The machine.
        timer: What `systemctl is-active` says of its timer.
        status: What its last run left; None before the first.
        schedule: When servers take snapshots, as cron has it.
        now: Seconds since 1970.
    """
    told = tuple(status["told"]) if status else ()
    files = tuple(status["copies"]) if status else ()
    if timer != "active":
        problem = f"its timer is {timer}; ./lyceum up starts it, journalctl -u {TIMER} there says more"
    elif status is None:
        problem = ""  # the timer will come
    elif not status["ok"]:
        problem = "; ".join(told)
    elif (silent := now - parse_timestamp(status["ran"])) >= STALE_SECONDS:
        problem = f"it has looked for no snapshot for {format_age(silent)}; journalctl -u {TIMER} there says why"
    elif (old := now - parse_timestamp(files[-1]["taken"] if files else status["first"])) > longest_interval(
        schedule
    ) + STALE_SECONDS:
        problem = f"no snapshot came for {format_age(old)}, and one is due by `{schedule}`: do the servers take them?"
    else:
        return ReplicaStatus(name, "", told, files)
    return ReplicaStatus(name, problem, files=files)


def describe_replicas(one: ReplicaStatus) -> str:
    """A line for people."""
    if one.problem:
        return f"{one.machine}: {one.problem}"
    kept = f"{len(one.files)}, the newest of {one.newest}" if one.files else "none yet"
    return "; ".join([f"{one.machine}: {kept}", *one.notes])


def replica_snapshots(found: list[ReplicaStatus]) -> list[SnapshotEntry]:
    """The copies among all snapshots."""
    return [
        SnapshotEntry(file["snapshot"], parse_timestamp(file["taken"]), file["size"], (one.machine,))
        for one in found
        for file in one.files
    ]
