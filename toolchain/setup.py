"""`make setup`: installs everything that Lyceum needs on this machine.

    python3 -m toolchain.setup

In this order: Debian packages of the lab, virtual environment, pinned Python packages, toolchain. Each part first checks
whether there is anything to do, so a second run takes a fraction of a second; each can be interrupted and run again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from config.errors import LyceumError
from toolchain import build, cache, debian
from toolchain.console import duration, print_line, step

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
STAMP = VENV / ".requirements"
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
OLDEST_PYTHON = (3, 11)


class SetupError(LyceumError):
    """The machine lacks something that this program cannot install; the text has the remedy."""


def requirements_hash() -> str:
    """Hash of the pinned requirements."""
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        digest.update((PROJECT / name).read_bytes())
    return digest.hexdigest()


def environment_is_current() -> bool:
    """Whether the virtual environment was completely installed from the current pins."""
    return STAMP.is_file() and STAMP.read_text() == requirements_hash() and (VENV / "bin" / "python").exists()


def create_environment() -> None:
    """Creates or repairs the virtual environment and installs the pinned packages.

    Raises:
        SetupError: Python's venv module or a package is not available.
    """
    if environment_is_current():
        return
    with step("python", cache.build_times()) as shown:
        shown.note("virtual environment")
        _run([sys.executable, "-m", "venv", str(VENV)], "apt-get install python3-venv, or use a Python that has venv")
        shown.note("packages")
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "-r", str(PROJECT / REQUIREMENTS[-1])], "let pip reach a package index (see `pip config list`)")
        STAMP.write_text(requirements_hash())


def _run(command: list[str], remedy: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SetupError(f"{' '.join(command)}\n{(done.stdout + done.stderr).strip()}\nRemedy: {remedy}")


def main() -> int:
    """Runs the set-up; returns 0 when everything is installed."""
    if sys.version_info < OLDEST_PYTHON:
        print_line(
            f"setup: {sys.executable} is Python {sys.version.split()[0]}; Lyceum needs "
            f"{'.'.join(map(str, OLDEST_PYTHON))} or newer. Remedy: make setup PYTHON=python3.12"
        )
        return 1
    started = time.monotonic()
    os.chdir(PROJECT)
    try:
        debian.install_missing()
        create_environment()
        result = build.main([])
    except LyceumError as error:
        print_line(f"setup: {error}")
        return 1
    except KeyboardInterrupt:
        print_line("\nsetup: interrupted; run it again to continue")
        return 130
    if result == 0:
        print_line(f"setup: ready ({duration(time.monotonic() - started)})")
    return result


if __name__ == "__main__":
    sys.exit(main())
