"""The children of a K3s process: they end when it ends, however it ends, and it ends when one of them does."""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Sequence

from lab.k3s import log
from lab.k3s.paths import BINARIES
from lab.k3s.release import kube_environment

__all__ = ["ChildProcesses"]

_GARBAGE = {"GOGC": "200"}
"""Go collects garbage half as often: a starting kube-apiserver takes 1.4 s of a processor in place of 1.75 s, and a tenth
more memory. A campus starts many."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    # A SIGKILLed parent cannot clean up; the kernel does it.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _environment() -> dict[str, str]:
    # etcd and kube-apiserver tell the init system that they are up; only K3s may say that of the unit.
    own = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return _GARBAGE | own | kube_environment()


class ChildProcesses:
    """The running components, in order of their start."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with the name of the first component that ended by itself."""

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        on_line: Callable[[str], bool] | None = None,
    ) -> None:
        """Start a component; the first word of its command is a program of the lab's toolchain.

        Args:
            name: What the log calls it.
            command: Program and arguments.
            on_line: Is given every line of the component's log; says whether it goes into the own log.
        """
        program = BINARIES / command[0]
        process = await asyncio.create_subprocess_exec(
            program if program.exists() else command[0],
            *command[1:],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=None if on_line is None else asyncio.subprocess.PIPE,
            stderr=None if on_line is None else asyncio.subprocess.STDOUT,
            env=_environment(),
            preexec_fn=_die_with_parent,
        )
        log.info(f"Running {name}, process {process.pid}")
        if self.ended.done():
            # Whoever starts a component again has dealt with its end.
            self.ended = asyncio.get_running_loop().create_future()
        self._running[name] = process
        self._watchers.append(asyncio.create_task(self._watch(name, process, on_line)))

    async def _watch(
        self, name: str, process: asyncio.subprocess.Process, on_line: Callable[[str], bool] | None
    ) -> None:
        if on_line is not None and process.stdout is not None:
            async for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                if on_line(line):
                    os.write(2, f"{line}\n".encode())
        code = await process.wait()
        if not self._stopping and self._running.get(name) is process and not self.ended.done():
            log.error(f"{name} exited with code {code}")
            self.ended.set_result(name)

    async def stop(self, name: str, patience: float = 2.0) -> None:
        """End one component and wait for it; after `patience` seconds by force."""
        process = self._running.pop(name, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def stop_all(self) -> None:
        """End all components, the last started first, and wait for them."""
        self._stopping = True
        for name in reversed(list(self._running)):
            await self.stop(name)
        for watcher in self._watchers:
            await watcher
