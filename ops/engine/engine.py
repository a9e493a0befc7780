"""Runs the Pulumi engine on a stack: one operation at a time, and no process is left behind."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from config.errors import LyceumError
from config.paths import PROJECT
from ops.console import console
from ops.engine import file_backend
from ops.engine.pulumi_state import State
from ops.engine.stack import STATE, Stack

PULUMI_PROJECT = "lyceum"
"""Name of the project in Pulumi.yaml."""
PARALLEL = "--parallel=32"
"""Operations at the same time; most of them wait. The engine's default is four a core (performance.md)."""
Plan = dict[str, Any]
"""What `pulumi preview --json` prints."""


class Engine:
    """The engine on one stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._exported: dict[bool, State] = {}
        """The state as it was last read, without and with secrets; each reading starts the engine, half a second of CPU."""

    @classmethod
    def open(cls, name: str) -> Self:
        """The engine on the stack of a name, inside its campus's network; creates the stack in the backend if it does not exist."""
        stack = Stack(name)
        stack.enter_network()
        engine = cls(stack)
        engine.init()
        return engine

    def preview(self, *, diff: bool = False) -> int:
        """Shows on the terminal what `up` would do; returns the exit code."""
        return self._run("preview", PARALLEL, *(["--diff"] if diff else []))

    def plan_replacement(self, urn: str) -> Plan:
        """What the engine would do if it replaced a resource: what `pulumi preview --json` prints."""
        plan: Plan = json.loads(self.query("preview", "--json", PARALLEL, "--replace", urn))
        return plan

    def up(
        self,
        lock: IO[str],
        message: str = "",
        *,
        only: Iterable[str] = (),
        replace: Iterable[str] = (),
        replace_only: Iterable[str] = (),
        confirm: bool = False,
    ) -> int:
        """Brings the stack to what its files say; returns the exit code.

        Args:
            lock: What `alone` gave.
            message: The text for the engine's history.
            only: URNs of resources to update, and no others.
            replace: URNs of resources to replace, beside everything else.
            replace_only: URNs of resources to replace, and no others but those of `only`.
            confirm: Shows the plan and asks first.
        """
        arguments = ["up", *([] if confirm else ["--yes", "--skip-preview"]), PARALLEL]
        arguments += ["--message", message] if message else []
        for option, urns in (("--target", only), ("--replace", replace), ("--target-replace", replace_only)):
            arguments += [word for urn in urns for word in (option, urn)]
        return self._run(*arguments, lock=lock)

    def destroy(self, lock: IO[str]) -> int:
        """Deletes everything that the state has; returns the exit code."""
        return self._run("destroy", "--yes", "--skip-preview", PARALLEL, lock=lock)

    def _run(self, *arguments: str, lock: IO[str] | None = None) -> int:
        """Runs `pulumi` on the terminal; returns its exit code.

        The lock's descriptor goes along to the engine and its plugins, so it stays locked until the last of them ends.
        """
        keep = [lock.fileno()] if lock else []
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        self._exported.clear()
        process = subprocess.Popen(self._command(arguments), cwd=PROJECT, env=self.stack.environment, pass_fds=keep)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # The terminal sent it to the engine too: the first lets running operations end, the second stops at once.
                console.print("[yellow]waiting for running operations to end; press again to stop at once[/]")

    def query(self, *arguments: str) -> str:
        """Runs `pulumi` and returns what it prints."""
        done = self._capture(self._command(arguments))
        if done.returncode:
            self.stack.check_passphrase(done.stderr)
            raise LyceumError(f"pulumi {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _capture(self, command: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command and captures its output."""
        if self._backend:
            file_backend.remove_truncated_attributes(self._backend)
        environment = self.stack.environment
        return subprocess.run(
            command, cwd=PROJECT, env=environment, input=text, capture_output=True, text=True, check=False
        )

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return ["pulumi", *arguments, "--stack", self.stack.name]

    def init(self) -> None:
        """Creates the stack in the backend if it does not exist."""
        if self._backend:
            self._backend.mkdir(parents=True, exist_ok=True)
        if not self._exists():
            self.query("stack", "init")

    @property
    def _backend(self) -> Path | None:
        return file_backend.backend_directory(self.stack.environment["PULUMI_BACKEND_URL"])

    def _exists(self) -> bool:
        if self._backend:
            return file_backend.has_stack(self._backend, PULUMI_PROJECT, self.stack.name)
        known = self._capture(["pulumi", "stack", "ls", "--json"])
        return known.returncode == 0 and self.stack.name in {entry["name"] for entry in json.loads(known.stdout)}

    def export(self, *, secrets: bool = False) -> State:
        """The stack's state; read again after whatever changes it."""
        if secrets not in self._exported:
            shown = ["--show-secrets"] if secrets else []
            self._exported[secrets] = State.parse(self.query("stack", "export", *shown))
        return self._exported[secrets]

    def kubeconfig(self) -> str:
        """The administrator's kubeconfig; empty while the stack has no cluster."""
        return self.export(secrets=True).kubeconfig

    def replace_state(self, state: State) -> None:
        """Replaces the stack's state, as `pulumi stack import` does."""
        self._exported.clear()
        self._capture(self._command(("stack", "import", "--force")), state.dump()).check_returncode()

    def remove_stack(self) -> None:
        """Removes the stack from the backend, whatever its state has: for a campus that no longer exists."""
        self._exported.clear()
        if self._exists():
            self.query("stack", "rm", "--yes", "--force", "--preserve-config")

    @contextmanager
    def hold_lock(self) -> Iterator[IO[str]]:
        """Holds the stack's lock for one operation; kills processes that a killed engine has left."""
        path = STATE / "locks" / f"{self.stack.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as lock:
            if not _try_lock(lock):
                lock.seek(0)
                holder = lock.read().strip()
                if holder and Path(f"/proc/{holder}").exists():
                    raise LyceumError(
                        f"another operation on `{self.stack.name}` is running (process {holder}); wait for it, or "
                        f"interrupt it with `kill -INT {holder}` and run this again"
                    )
                _kill_leftovers(path, lock)
            lock.seek(0)
            lock.truncate()
            lock.write(str(os.getpid()))
            lock.flush()
            self._exported.clear()  # whoever held the lock before has changed the state
            yield lock


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_holders(path: Path) -> list[int]:
    """Other processes that have the lock file open."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with suppress(OSError):
                if any(entry.samefile(path) for entry in (process / "fd").iterdir()):
                    found.append(int(process.name))
    return found


def _kill_leftovers(path: Path, lock: IO[str]) -> None:
    """Plugins outlive a killed engine; what they still do would collide with the next run."""
    console.print("[yellow]an earlier run was killed; killing the processes that it left[/]")
    for pid in _lock_holders(path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if _try_lock(lock):
            return
        time.sleep(0.1)
    raise LyceumError(f"processes {_lock_holders(path)} hold {path} and cannot be killed; end them and run this again")
