"""Tasks: the work behind a UPID, its duration, its log, its end."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from lab.contracts import HostFailed
from lab.proxmox.call import Call, Identity
from lab.proxmox.errors import ApiError, bad_parameter
from lab.proxmox.state import ClusterState, TaskRecord

Work = Callable[[TaskRecord], Awaitable[None]]
"""What a task does; it may append to the record's log and raises `ApiError` or `HostFailed` to fail."""

log = logging.getLogger("lab.proxmox")

_KEPT = 500
"""Finished tasks remembered; more than a whole demonstration makes."""


@dataclass(frozen=True)
class Timing:
    """How long things take, in seconds; all zero in unit tests."""

    durations: Mapping[str, float] = field(default_factory=dict)
    """By task type (`qmcreate`, `qmstart`, `resize`, `download`, ...); a type not named takes no time of its own."""
    lock_timeout: float = 10
    """Wait for a VM's lock, then refuse. Proxmox VE waits ten seconds."""
    linger: float = 0.3
    """A status call waits this long for a running task. Clients poll each second; this spares them most of one."""


class _NotBegun(Exception):  # noqa: N818  # a state
    """An injected failure before any work."""


class TaskBoard:
    """Starts tasks and answers for them.

    Records are kept in the state, which `changed` saves, so that a client can still ask after the campus was restarted.
    """

    def __init__(self, state: ClusterState, timing: Timing, changed: Callable[[], None]) -> None:
        self._state = state
        self._timing = timing
        self._changed = changed
        self._running: dict[str, asyncio.Task[str]] = {}
        self._last_pid = max((record.pid for record in state.tasks.values()), default=1000)
        for record in state.tasks.values():
            if record.exitstatus is None:  # it died with the campus
                record.exitstatus, record.endtime = "unexpected status", int(time.time())

    def start(  # noqa: PLR0917  # a task has six parts
        self, node: str, kind: str, subject: str, call: Call, work: Work, give_up: Callable[[], None] | None = None
    ) -> str:
        """Start a task and return its UPID.

        Args:
            node: Where it runs.
            kind: Proxmox VE's task type, such as `qmcreate`.
            subject: What it is about, often the VM's number; may be empty.
            call: The call that asked; its injected task fault applies.
            work: The effect, run after the type's duration.
            give_up: Takes back what the call reserved, when the task is interrupted or fails before `work`.
        """
        self._last_pid += 1
        pid, now = self._last_pid, int(time.time())
        # pstart is the process's start in clock ticks on a real node; any number that grows will do.
        pstart = pid * 7
        user = call.identity.name
        upid = f"UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{subject.replace(':', '-')}:{user}:"
        record = TaskRecord(
            upid=upid, node=node, type=kind, id=subject, user=user, pid=pid, pstart=pstart, starttime=now
        )
        self._state.tasks[upid] = record
        self._drop_old()
        running = asyncio.create_task(self._run(record, call, work), name=upid)
        self._running[upid] = running
        running.add_done_callback(functools.partial(self._record_end, record, give_up))
        return upid

    async def status(self, upid: str, who: Identity, *, may_audit: bool) -> dict[str, str | int]:
        """The task's status as the API shows it; raises `ApiError` 400 for an unknown task."""
        record = self.find(upid, who, may_audit=may_audit)
        if running := self._running.get(upid):
            await asyncio.wait({running}, timeout=self._timing.linger)
        shown: dict[str, str | int] = record.model_dump(exclude={"log", "endtime", "exitstatus"})
        if record.exitstatus is None:
            return {**shown, "status": "running"}
        return {**shown, "status": "stopped", "exitstatus": record.exitstatus}

    def find(self, upid: str, who: Identity, *, may_audit: bool) -> TaskRecord:
        """A record, if it exists and `who` may see it: own tasks, those of own tokens, all for auditors."""
        record = self._state.tasks.get(upid)
        if record is None:
            raise bad_parameter("upid", "no such task")
        own = record.user == who.name or (who.token is None and record.user.startswith(who.user + "!"))
        if not own and not may_audit:
            raise ApiError(403, f"Permission check failed (/nodes/{record.node}, Sys.Audit)")
        return record

    async def wait_until_idle(self) -> None:
        """Wait until nothing runs any more."""
        while self._running:
            await asyncio.wait(set(self._running.values()))
            await asyncio.sleep(0)  # lets the tasks be struck off

    async def close(self) -> None:
        """Interrupt everything."""
        for running in list(self._running.values()):
            running.cancel()
        await self.wait_until_idle()

    async def _run(self, record: TaskRecord, call: Call, work: Work) -> str:
        """Do the work and return the exit status."""
        fault = call.task_fault
        await asyncio.sleep(self._timing.durations.get(record.type, 0))
        if fault is not None and not fault.done:
            raise _NotBegun(fault.message)
        try:
            await work(record)
        except (ApiError, HostFailed) as failure:
            return str(failure)
        return fault.message if fault else "OK"

    def _record_end(self, record: TaskRecord, give_up: Callable[[], None] | None, task: asyncio.Task[str]) -> None:
        """Write down how a task ended; also when it was interrupted before its first step."""
        problem = None if task.cancelled() else task.exception()
        if give_up and (task.cancelled() or isinstance(problem, _NotBegun)):
            give_up()
        if task.cancelled():
            record.exitstatus = "interrupted by signal"
        elif isinstance(problem, _NotBegun):
            record.exitstatus = str(problem)
        elif problem is not None:
            # A defect of the simulator: the client sees a failed task, the log the traceback.
            record.exitstatus = f"internal error: {problem!r}"
            log.error("task %s", record.upid, exc_info=problem)
        else:
            record.exitstatus = task.result()
        record.log.append("TASK OK" if record.exitstatus == "OK" else f"TASK ERROR: {record.exitstatus}")
        record.endtime = int(time.time())
        del self._running[record.upid]
        self._changed()

    def _drop_old(self) -> None:
        finished = [upid for upid, record in self._state.tasks.items() if record.exitstatus is not None]
        for upid in finished[:-_KEPT]:
            del self._state.tasks[upid]
