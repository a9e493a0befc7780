"""A copy of the project with a campus and a state of its own, driven as a person drives it: by `./lyceum`."""

import compileall
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lab import control
from lab.rundir import RunDir
from toolchain.environment import binary

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("config", "components", "ops", "lab", "toolchain")
FILES = ("__main__.py", "Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml", "lyceum", "requirements.txt")
LINKED = (".venv", ".toolchain")
MINUTES = 60


@functools.cache
def compile_sources() -> None:
    """Compiles what is copied: the campus's machines see it read-only, and would compile it at each start of a program."""
    for name in COPIED:
        compileall.compile_dir(ROOT / name, quiet=2)


class Project:
    """A project directory and the campus in it.

    Attributes:
        path: The directory.
        lab: Options of `lab up`: machines in which pods really run, a directory of real charts.
    """

    def __init__(self, path: Path, real_nodes: str = "none", charts: str | None = None) -> None:
        self.path = path
        self.lab = ("--real", real_nodes, *(("--charts", charts) if charts else ()))
        compile_sources()
        for name in COPIED:
            shutil.copytree(ROOT / name, path / name)
        for name in FILES:
            shutil.copy(ROOT / name, path / name)
        for name in LINKED:
            (path / name).symlink_to((ROOT / name).resolve())

    def __enter__(self) -> Self:
        self.lyceum("lab", "up", *self.lab)
        return self

    def __exit__(self, *_: object) -> None:
        self.lyceum("lab", "down")

    @property
    def run(self) -> Path:
        """Runtime directory of the campus."""
        return self.path / ".lyceum" / "lab" / "lab"

    @property
    def environment(self) -> dict[str, str]:
        """Without what the caller's own stack may have set."""
        return {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "LYCEUM_LAB"))}

    def start(self, *arguments: str, terminal: bool = False) -> subprocess.Popen[str]:
        """Starts a command and returns at once; as a group of processes of its own, as a terminal would, where asked.

        A terminal's command hears interrupts, also where these tests run in the background of a script, which ignores them.
        """
        return subprocess.Popen(
            [*(("env", "--default-signal=INT") if terminal else ()), "./lyceum", *arguments],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0 if terminal else None,
        )

    def lyceum(self, *arguments: str, code: int = 0, timeout: float = 15 * MINUTES) -> str:
        """Runs a command to its end, expecting an exit code; returns all it printed."""
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=timeout)
        assert process.returncode == code, f"lyceum {' '.join(arguments)} ended with {process.returncode}:\n{text}"
        return text

    def kill_when(self, words: str, *arguments: str, once: Callable[[], bool] = lambda: True) -> str:
        """Starts a command and kills it, with the engine and its plugins, once it prints a line with these words.

        Args:
            words: What it prints.
            *arguments: The command.
            once: What else has to have come about; asked from then on, until the command ends.
        """
        process = self.start(*arguments)
        seen, there = until_it_prints(process, words)
        assert there, f"lyceum {' '.join(arguments)} never said `{words}`:\n{seen}"
        while process.poll() is None and not once():
            time.sleep(0.05)
        end(process)
        return seen

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl as the administrator, as `lyceum lab kubectl` does; directly, as stories ask hundreds of times."""
        text = control.call_handler(RunDir(self.run).control, "kubeconfig")
        assert text, "no machine of the campus has a kubeconfig"
        config = self.run / "kubeconfig"
        config.touch(mode=0o600)
        config.write_text(text)
        command = [*self.inside(), str(binary("kube")), "kubectl", f"--kubeconfig={config}", *arguments]
        done = subprocess.run(
            command, cwd=self.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=15 * MINUTES, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The items of a list, as objects."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]
        return items

    def object(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def status(self) -> dict[str, Any]:
        """What `lyceum status` reports, whether all is well or not."""
        end = time.monotonic() + 2 * MINUTES
        while True:
            text, _ = self.start("status", "dev", "--json").communicate(timeout=5 * MINUTES)
            try:
                report: dict[str, Any] = json.loads(text)
            except ValueError:  # the API's address moves just now, which is an error of one line
                assert time.monotonic() < end, f"no report, but:\n{text}"
                time.sleep(2)
            else:
                return report

    def state(self) -> dict[str, Any]:
        """The stack's state."""
        file = self.path / ".lyceum" / "state" / ".pulumi" / "stacks" / "lyceum" / "dev.json"
        checkpoint: dict[str, Any] = json.loads(file.read_text())["checkpoint"]["latest"]
        return checkpoint

    def machines(self) -> dict[str, dict[str, Any]]:
        """Virtual machines that the simulated Proxmox knows, by name."""
        known = json.loads((self.run / "pve" / "state.json").read_text())["vms"]
        return {machine["config"]["name"]: machine for machine in known.values()}

    def inside(self) -> list[str]:
        """What goes before a command that is to run in the campus's network."""
        number = (self.run / "campus.pid").read_text().split()[0]
        own, theirs = (Path(f"/proc/{pid}/ns/user").stat().st_ino for pid in ("self", number))
        user = [] if own == theirs else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", number, *user, "--net"]

    def proxmox(self, method: str, name: str, rest: str = "") -> None:
        """Does something with a machine at the hypervisor, by the same token: `POST`, `gpu-1`, `/status/start`."""
        known = json.loads((self.run / "pve" / "state.json").read_text())["vms"]
        (path,) = (f"nodes/{vm['node']}/qemu/{key}{rest}" for key, vm in known.items() if vm["config"]["name"] == name)
        program = (
            "import sys; from pathlib import Path; from components.proxmox.client import Pve; run = Path(sys.argv[1])\n"
            "pve = Pve('https://10.21.0.11:8006/', (run / 'proxmox-token').read_text().strip(), str(run / 'ca.pem'))\n"
            "pve.call(*sys.argv[2:])"
        )
        command = [*self.inside(), sys.executable, "-c", program, str(self.run), method, path]
        subprocess.run(command, cwd=self.path, check=True)

    def killed_at(self, moment: str, *arguments: str) -> bool:
        """Runs a command and kills it, and whatever it started, with SIGKILL as soon as it prints a text.

        Returns:
            Whether it was killed; False if it ended well without ever printing that.
        """
        process = self.start(*arguments)
        printed, there = until_it_prints(process, moment)
        if there:
            end(process)
            return True
        assert process.wait() == 0, f"lyceum {' '.join(arguments)} ended with {process.returncode}:\n{printed}"
        return False

    def killed_at_each(self, moments: Iterable[str], *arguments: str) -> None:
        """Kills a command at one moment after the other, each time starting it again."""
        for moment in moments:
            assert self.killed_at(moment, *arguments), f"it must have been killed at `{moment}`"

    def kill_engine(self, after: float) -> None:
        """Starts `up`, and kills the engine with SIGKILL some seconds after it began to work."""
        process = self.start("up", "dev", "--yes")
        engine = self._engine(process)
        time.sleep(after)
        if engine.exists():
            _signal([engine], signal.SIGKILL)
        process.communicate(timeout=5 * MINUTES)

    def _engine(self, process: subprocess.Popen[str]) -> Path:
        """The `pulumi up` below a command, once it is there."""
        end = time.monotonic() + 2 * MINUTES
        while process.poll() is None and time.monotonic() < end:
            for entry in below(process.pid):
                with suppress(OSError):  # it has just ended
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if words[0].endswith(b"pulumi") and words[1:2] == [b"up"]:
                        return entry
            time.sleep(0.02)
        return Path("/proc/none")


def until_it_prints(process: subprocess.Popen[str], moment: str) -> tuple[str, bool]:
    """Reads what a command prints until a line holds a text, or it ends; returns all it read, and whether it came."""
    assert process.stdout
    printed = ""
    for line in process.stdout:
        printed += line
        if moment in line:
            return printed, True
    return printed, False


def end(process: subprocess.Popen[str]) -> None:
    """Kills a command, then everything below it, by process id; returns when it is gone."""
    process.send_signal(signal.SIGSTOP)
    started: set[Path] = set()
    while new := {*below(process.pid)} - started:  # what is stopped starts nothing more
        _signal(new, signal.SIGSTOP)
        started |= new
    process.kill()
    _signal(started, signal.SIGKILL)
    process.communicate(timeout=5 * MINUTES)


def _signal(entries: Iterable[Path], number: signal.Signals) -> None:
    for entry in entries:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(int(entry.name), number)


def below(pid: int) -> list[Path]:
    """Every process that a process has started, directly or not, by its directory in /proc."""
    found = []
    with suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in _children(task):
                found += [Path(f"/proc/{child}"), *below(int(child))]
    return found


def _children(task: Path) -> list[str]:
    try:
        return task.read_text().split()
    except OSError:  # it has just ended
        return []
