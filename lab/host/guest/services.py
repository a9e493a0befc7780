"""The life of one service: started, watched, restarted by its policy, stopped with its kill mode."""

import asyncio
import contextlib
import signal
import time
import uuid
from collections import deque
from enum import StrEnum
from pathlib import Path

from lab.host.guest.notifications import SOCKETS, Notifications
from lab.host.guest.processes import Process, Processes, service_pids, signal_all, wait_until_gone
from lab.host.guest.units import ExecCommand, KillMode, ServiceType, ServiceUnit, parse_environment_file

LOGS = Path("/var/log/units")
"""Each service's output, one file a unit; `journalctl -u` reads it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What systemd gives a system service."""


class ActiveState(StrEnum):
    """ActiveState of a unit."""

    INACTIVE = "inactive"
    ACTIVATING = "activating"
    ACTIVE = "active"
    DEACTIVATING = "deactivating"
    FAILED = "failed"


class ServiceRunner:
    """One service under the manager; its state reads as in `systemctl show`."""

    def __init__(self, processes: Processes, unit: ServiceUnit) -> None:
        self.unit = unit
        self.active = ActiveState.INACTIVE
        self.sub = "dead"
        self.result = "success"
        self.main_status = 0
        self.restarts = 0
        self.since = time.time()
        self.invocation = ""
        self._processes = processes
        self._main: Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._outcome: asyncio.Future[bool] | None = None
        self._stopping = asyncio.Event()
        self._starts: deque[float] = deque()

    @property
    def main_pid(self) -> int:
        """PID of the main process, 0 when there is none."""
        return self._main.pid if self._main is not None and not self._main.ended else 0

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return LOGS / f"{self.unit.name}.log"

    async def start(self, *, wait: bool = True) -> bool:
        """Start unless it is up; True when it has become active (or, a oneshot, has succeeded)."""
        if self._life is None or self._life.done():
            self.restarts = 0
            self._stopping.clear()
            self._outcome = None
            self._life = asyncio.create_task(self._live())
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._outcome) if wait else True

    async def stop(self) -> None:
        """Stop and wait until it is gone; also ends the waiting for a restart."""
        if self._life is None or self._life.done():
            return
        self._stopping.set()
        if self.active is ActiveState.ACTIVATING:
            signal_all(service_pids(self.invocation), signal.SIGTERM)
        await asyncio.shield(self._life)

    def kill(self, number: int, *, whom: str) -> None:
        """`systemctl kill`: signal the main process, or every process of the service."""
        targets = [self.main_pid] if whom == "main" else service_pids(self.invocation)
        signal_all([pid for pid in targets if pid], number)

    async def _live(self) -> None:
        while True:
            if self._start_limit_hit():
                self.result = "start-limit-hit"
                self._say("Start request repeated too quickly.")
                self._end(ActiveState.FAILED)
                return
            self.result = await self._run_once()
            await self._kill_leftovers()
            if self._stopping.is_set():
                self._end(ActiveState.INACTIVE)
                return
            if not self.unit.restarts_after(self.result):
                self._end(ActiveState.INACTIVE if self.result == "success" else ActiveState.FAILED)
                return
            self._set(ActiveState.ACTIVATING, "auto-restart")
            self._resolve_start(up=False)
            self._outcome = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.unit.restart_sec)
                self._end(ActiveState.INACTIVE)
                return
            self.restarts += 1

    async def _run_once(self) -> str:
        """One start and the run after it; returns systemd's word for how it ended."""
        unit = self.unit
        self.invocation = uuid.uuid4().hex
        self._set(ActiveState.ACTIVATING, "start-pre")
        try:
            environment = self._environment()
        except OSError as error:
            self._say(f"Failed to load environment files: {error}")
            return "resources"
        for command in unit.exec_start_pre:
            if not await self._run_helper(command, environment):
                return "exit-code"
        self._set(ActiveState.ACTIVATING, "start")
        if unit.type is ServiceType.ONESHOT:
            return await self._oneshot(environment)
        with contextlib.ExitStack() as stack:
            ready = stack.enter_context(Notifications(unit.name)) if unit.type is ServiceType.NOTIFY else None
            self._main = self._spawn(unit.exec_start[0], environment)
            result = await self._wait_until_ready(self._main, ready)
            if result is None:
                self._set(ActiveState.ACTIVE, "running")
                self._resolve_start(up=True)
                result = await self._wait_until_ended(self._main)
            return result

    async def _wait_until_ready(self, main: Process, ready: Notifications | None) -> str | None:
        """None when the service is up, else how its start failed."""
        if ready is None:
            return None
        waits = {asyncio.ensure_future(task) for task in (ready.wait(), main.wait(), self._stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=self.unit.timeout_start, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if ready.seen:
            return None
        if main.ended:
            return await self._record_end(main, expected=False) if await main.wait() else "protocol"
        if self._stopping.is_set():
            return await self._wait_until_ended(main)
        self._say("start operation timed out. Terminating.")
        await self._terminate(main)
        return "timeout"

    async def _wait_until_ended(self, main: Process) -> str:
        waits = {asyncio.ensure_future(task) for task in (main.wait(), self._stopping.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if main.ended:
            return await self._record_end(main, expected=False)
        self._set(ActiveState.DEACTIVATING, "stop-sigterm")
        return await self._terminate(main)

    async def _terminate(self, main: Process) -> str:
        """End the main process, and the others as the kill mode says."""
        if self.unit.kill_mode is KillMode.CONTROL_GROUP:
            signal_all(service_pids(self.invocation), signal.SIGTERM)
        else:
            signal_all([main.pid], signal.SIGTERM)
        try:
            await asyncio.wait_for(main.wait(), self.unit.timeout_stop)
        except TimeoutError:
            self._say("State 'stop-sigterm' timed out. Killing.")
            signal_all([main.pid], signal.SIGKILL)
            await self._record_end(main, expected=True)
            return "timeout"
        return await self._record_end(main, expected=True)

    async def _record_end(self, main: Process, *, expected: bool) -> str:
        """Record how the main process ended; a signal that we sent, or a polite one, is success."""
        status = await main.wait()
        self.main_status = abs(status)
        if status == 0:
            return "success"
        polite = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE}
        if status < 0 and (expected or -status in polite):
            return "success"
        self._say(f"Main process exited, {'status' if status > 0 else 'killed, signal'}={abs(status)}")
        return "exit-code" if status > 0 else "signal"

    async def _oneshot(self, environment: dict[str, str]) -> str:
        for command in self.unit.exec_start:
            self._main = self._spawn(command, environment)
            status = await self._main.wait()
            self.main_status = abs(status)
            if status and not command.ignore_failure:
                self._say(f"Main process exited, status={abs(status)}")
                return "exit-code" if status > 0 else "signal"
        return "success"

    async def _kill_leftovers(self) -> None:
        """End what the service left behind, unless its kill mode spares it (as K3s's does for its pods)."""
        if self.unit.kill_mode is KillMode.PROCESS:
            return
        left = service_pids(self.invocation)
        if not left:
            return
        signal_all(left, signal.SIGTERM)
        if not await wait_until_gone(lambda: bool(service_pids(self.invocation)), self.unit.timeout_stop):
            signal_all(service_pids(self.invocation), signal.SIGKILL)

    async def _run_helper(self, command: ExecCommand, environment: dict[str, str]) -> bool:
        """Run an ExecStartPre line; True when the start may go on."""
        status = await self._spawn(command, environment).wait()
        if status and not command.ignore_failure:
            self.main_status = abs(status)
            self._say(f"Control process exited, {command.words[0]} status={abs(status)}")
        return status == 0 or command.ignore_failure

    def _spawn(self, command: ExecCommand, environment: dict[str, str]) -> Process:
        return self._processes.start(command.expanded(environment), environment, log=self.log, user=self.unit.user)

    def _environment(self) -> dict[str, str]:
        """What the service's processes see; files come after `Environment=` and win (systemd.exec(5))."""
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "INVOCATION_ID": self.invocation} | dict(self.unit.environment)
        for path, may_be_missing in self.unit.environment_files:
            try:
                environment |= parse_environment_file(Path(path).read_text())
            except FileNotFoundError:
                if not may_be_missing:
                    raise
        if self.unit.type is ServiceType.NOTIFY:
            environment["NOTIFY_SOCKET"] = str(SOCKETS / self.unit.name)
        return environment

    def _start_limit_hit(self) -> bool:
        burst, interval = self.unit.start_limit
        now = time.monotonic()
        while self._starts and self._starts[0] < now - interval:
            self._starts.popleft()
        if burst and interval and len(self._starts) >= burst:
            return True
        self._starts.append(now)
        return False

    def _end(self, active: ActiveState) -> None:
        self._set(active, "dead" if active is ActiveState.INACTIVE else "failed")
        self._resolve_start(up=self.result == "success" and not self._stopping.is_set())

    def _resolve_start(self, *, up: bool) -> None:
        """Resolve the waiting start with its result."""
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        if not self._outcome.done():
            self._outcome.set_result(up)

    def _set(self, active: ActiveState, sub: str) -> None:
        if active is not self.active:
            self.since = time.time()
        self.active, self.sub = active, sub

    def _say(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(f"systemd[1]: {self.unit.name}: {text}\n")
