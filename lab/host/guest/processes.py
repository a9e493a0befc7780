"""Processes under PID 1: started with a clean slate, awaited, found by service, and orphans reaped."""

import asyncio
import contextlib
import os
import pwd
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ADM = 4
"""Debian's group of those who may read logs."""
EXEC_FAILED = 203
"""EXIT_EXEC of systemd.exec(5): the program could not be run."""


class Processes:
    """Starts processes and waits for them; being PID 1, it also reaps orphans."""

    def __init__(self) -> None:
        self._exits: dict[int, asyncio.Future[int]] = {}

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the end of every process from now on."""
        loop.add_signal_handler(signal.SIGCHLD, self.reap)

    def reap(self) -> None:
        """Reap ended processes and resolve who waits for them."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                waiter = self._exits.pop(pid, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(os.waitstatus_to_exitcode(status))

    def start(self, argv: Sequence[str], environment: Mapping[str, str], *, log: Path, user: str = "root") -> "Process":
        """Run a program in a session of its own; what it prints is appended to `log`.

        A program that cannot be run ends with status 203, as under systemd, and says why in the log.
        """
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        os.fchown(output, 0, ADM)
        try:
            pid = os.fork()
            if pid == 0:
                _exec_program(argv, environment, output, user)
        finally:
            os.close(output)
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exits[pid] = waiter
        return Process(pid, waiter)


class Process:
    """A running program; `status` is its exit status, or minus the signal that ended it."""

    def __init__(self, pid: int, waiter: "asyncio.Future[int]") -> None:
        self.pid = pid
        self._waiter = waiter

    async def wait(self) -> int:
        """The exit status; may be awaited by several."""
        return await asyncio.shield(self._waiter)

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._waiter.done()


def _exec_program(argv: Sequence[str], environment: Mapping[str, str], output: int, user: str) -> None:
    """Turn the forked child into the program; never returns."""
    try:
        os.setsid()
        # Python ignores SIGPIPE, and what is ignored stays so across exec.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir("/")
        if user != "root":
            entry = pwd.getpwnam(user)
            os.initgroups(user, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606  # units name their programs
    except (OSError, KeyError) as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(EXEC_FAILED)


def service_pids(invocation: str) -> list[int]:
    """PIDs of everything that descends from one start of a service, found by its INVOCATION_ID.

    The variable is inherited, so it also marks what left the session or was orphaned; it stands in for a cgroup.
    """
    mark = f"INVOCATION_ID={invocation}".encode()
    found = []
    for entry in Path("/proc").glob("[1-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found


def signal_all(pids: Sequence[int], number: int) -> None:
    """Send a signal to each that still lives."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def wait_until_gone(alive: Callable[[], bool], timeout: float | None) -> bool:
    """Wait until nothing is alive; False when the time is up first.

    Deaths of processes that are not our children cannot be awaited, so this looks at growing intervals.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    pause = 0.01
    while alive():
        if deadline is not None and loop.time() >= deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    return True
