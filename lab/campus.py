"""A campus from outside: brought up, entered, asked and taken down. Several live side by side, by name."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from config.errors import LyceumError
from lab import control
from lab.control import ControlError, NotRunning
from lab.rundir import PROJECT, RunDir

__all__ = ["CampusError", "ControlError", "NotRunning", "ask", "default_name", "down", "enter_command", "is_up", "up"]

READY_SECONDS = 240.0
"""A campus is up in two to three seconds; this is for machines that do much else, and for one that imports images first."""


class CampusError(LyceumError):
    """The campus cannot be brought up; the text says what is missing and the remedy."""


def default_name() -> str:
    """The lab that is meant when none is named: $LYCEUM_LAB, or `lab`."""
    return os.environ.get("LYCEUM_LAB", "lab")


def read_pid(lab: str) -> int | None:
    """PID 1 of the campus as this machine numbers it; None when it is down, also after a crash.

    A PID alone may belong to another process by now, so the start time must be the same as well.
    """
    try:
        number, started = RunDir.of(lab).pid.read_text().split()
        stat = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    fields = stat.rpartition(")")[2].split()
    return int(number) if fields[19] == started and fields[0] != "Z" else None


def is_up(lab: str | None = None) -> bool:
    """Whether the campus answers."""
    try:
        ask("ping", lab=lab)
    except NotRunning:
        return False
    return True


def ask(do: str, *, lab: str | None = None, timeout: float = 60.0, **arguments: Any) -> Any:
    """Ask the campus's daemon: `ping`, `status`, `machines`, `kubeconfig`, or a fault of `lab.host.faults.Faults`.

    Raises:
        NotRunning: the campus is down.
        ControlError: it refused, with its reason.
    """
    lab = lab or default_name()
    if read_pid(lab) is None:
        raise NotRunning(f"the lab `{lab}` is down; `./lyceum lab up` brings it up")
    return control.call_handler(RunDir.of(lab).control, do, timeout=timeout, **arguments)


def enter_command(lab: str | None = None) -> list[str]:
    """A command prefix that runs what follows in the campus's network, with your files and your processes.

    Raises:
        NotRunning: the campus is down.
    """
    lab = lab or default_name()
    number = read_pid(lab)
    if number is None:
        raise NotRunning(f"the lab `{lab}` is down; `./lyceum lab up` brings it up")
    own = os.stat("/proc/self/ns/user").st_ino  # noqa: PTH116  # a link that leads nowhere in the file system
    theirs = os.stat(f"/proc/{number}/ns/user").st_ino  # noqa: PTH116
    user = [] if own == theirs else ["--user", "--preserve-credentials"]
    return ["nsenter", "--target", str(number), *user, "--net", "--"]


def up(request: bytes, lab: str, *, report: Callable[[str], None]) -> float:
    """Bring a campus up unless it is; returns the seconds it took.

    Args:
        request: What to bring up, from `lab.spec.dump_request`.
        lab: Its name.
        report: Called with a line of progress now and then.

    Raises:
        CampusError: it cannot run here, it runs with other settings, or it failed to start.
    """
    begun = time.monotonic()
    run = RunDir.of(lab)
    if unusable := sorted(set(str(run.path)) & set(",:\\")):
        raise CampusError(f"{run.path}: overlay mounts take no path with `{unusable[0]}`. Remedy: move the project")
    if not _runs_as_requested(run, request, lab):
        with _lock_labs(run):
            if not _runs_as_requested(run, request, lab):
                _bring_up(run, request, lab, report)
    return time.monotonic() - begun


@contextlib.contextmanager
def _lock_labs(run: RunDir) -> Iterator[None]:
    """Allow one command at a time to bring labs up or down; the lock is on the directory, so no file is left."""
    run.path.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(run.path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _runs_as_requested(run: RunDir, request: bytes, lab: str) -> bool:
    """Whether the campus is up as requested."""
    if not is_up(lab):
        return False
    if run.spec.read_bytes() != request:
        raise CampusError(f"the lab `{lab}` runs another campus or other charts. Remedy: ./lyceum lab down first")
    return True


def _bring_up(run: RunDir, request: bytes, lab: str, report: Callable[[str], None]) -> None:
    _kill(lab)  # what does not answer any more
    namespaces = namespace_command()
    run.path.mkdir(parents=True, exist_ok=True)
    run.path.chmod(0o700)
    run.spec.write_bytes(request)
    _start(run, namespaces, report)


def _start(run: RunDir, namespaces: list[str], report: Callable[[str], None]) -> None:
    run.logs.mkdir(exist_ok=True)
    with (run.logs / "daemon.err").open("wb") as errors:
        process = subprocess.Popen(
            [*namespaces, sys.executable, "-m", "lab.daemon", str(run.path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd="/", start_new_session=True, text=True,
            env={"PATH": _program_path(), "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8", "LYCEUM_CACHE": _cache()},
        )  # fmt: skip
    last = "nothing was said"
    patience = threading.Timer(READY_SECONDS, process.kill)
    patience.start()
    try:
        with contextlib.closing(process.stdout) if process.stdout else contextlib.nullcontext() as lines:
            for line in lines or ():
                last = line.strip()
                report(last)
                if last.startswith("ready"):
                    return
    finally:
        patience.cancel()
    if process.wait() == -signal.SIGKILL:
        last = f"error: after `{last}` nothing happened until {READY_SECONDS:.0f} s were over"
    tail = (run.logs / "daemon.err").read_text().strip().splitlines()[-1:]
    why = last.removeprefix("error: ") if last.startswith("error: ") else "; ".join([last, *tail])
    raise CampusError(f"the campus did not come up: {why}. Its log: {run.logs}/daemon.log")


def _cache() -> str:
    """The cache of the person who asks: an ordinary user's daemon is another user, with another home."""
    from toolchain.cache import cache_root  # noqa: PLC0415  # only for a start

    return str(cache_root().parent)


def down(lab: str) -> bool:
    """End a campus and remove everything it kept; False when there was nothing. Safe after any crash."""
    run = RunDir.of(lab)
    with _lock_labs(run):
        killed = _kill(lab)
        existed = run.path.exists()
        if existed:
            _remove(run.path)
    return killed or existed


def _kill(lab: str) -> bool:
    number = read_pid(lab)
    if number is None:
        return False
    watch = os.pidfd_open(number)
    try:
        signal.pidfd_send_signal(watch, signal.SIGKILL)
        # The kernel lets PID 1 end only after everything in its namespace has ended.
        while read_pid(lab) is not None:
            time.sleep(0.01)
    except ProcessLookupError:
        pass
    finally:
        os.close(watch)
    return True


def _remove(path: Path) -> None:
    """Remove the run directory; VMs' files may belong to users that only the user namespace knows."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        subprocess.run(["unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", str(path)], check=True)


def namespace_command() -> list[str]:
    """The command that gives a campus its namespaces, as root or as an ordinary user.

    Raises:
        CampusError: neither is possible here; says what is missing and the remedy.
    """
    missing = [tool for tool in ("unshare", "nsenter", "ip") if not shutil.which(tool, path=_program_path())]
    if missing:
        raise CampusError(f"missing: {', '.join(missing)}. Remedy: apt-get install util-linux iproute2")
    command = ["unshare", "--pid", "--mount", "--net", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        _check_rootless()
        command += ["--user", "--map-root-user", "--map-auto"]
    trial = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        raise CampusError(
            f"this machine does not give out namespaces ({trial.stderr.strip()}). Remedy: as root run\n"
            "  sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0\n"
            "(those of the two that exist), or run the lab as root; in a container, start it with --privileged"
        )
    return command


def _check_rootless() -> None:
    if not shutil.which("newuidmap", path=_program_path()):
        raise CampusError(
            "an ordinary user's lab needs newuidmap, for the accounts in VMs. Remedy: apt-get install uidmap"
        )
    import pwd  # noqa: PLC0415  # only here

    user = pwd.getpwuid(os.geteuid()).pw_name
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = file.read_text().splitlines() if file.exists() else []
        if not any(line.split(":")[0] in {user, str(os.geteuid())} for line in lines):
            raise CampusError(
                f"{file} gives {user} no range of user ids, and VMs have users of their own. Remedy, as root:\n"
                f"  usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            )


def _program_path() -> str:
    """Where programs are: an ordinary user's PATH leaves out the sbin directories."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def read_addresses(lab: str | None = None) -> dict[str, Any]:
    """Content of campus.json: where the campus serves what."""
    facts: dict[str, Any] = json.loads(RunDir.of(lab or default_name()).status.read_text())
    return facts
