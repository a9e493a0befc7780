"""The environment in which Lyceum runs Pulumi: this project's engine and plugins, not those of the user."""

from __future__ import annotations

import os
from pathlib import Path

from config.errors import LyceumError

PROJECT = Path(__file__).resolve().parent.parent
DIRECTORY = PROJECT / ".toolchain"
BINARIES = DIRECTORY / "bin"


class ToolchainMissingError(LyceumError):
    """A program has not been installed here; the text has the remedy."""


def binary(name: str) -> Path:
    """Path of a program of the toolchain.

    Raises:
        ToolchainMissingError: It is not there.
    """
    path = BINARIES / name
    if not path.exists():
        raise ToolchainMissingError(f"{path} is missing. Remedy: {_remedy(name)}")
    return path


def _remedy(name: str) -> str:
    from toolchain import parts  # noqa: PLC0415  # only for the message; importing it takes time

    return parts.remedy(next((one.part for one in parts.programs_of(*parts.PARTS) if name in one.binaries), "core"))


def engine_environment() -> dict[str, str]:
    """Variables for a process that runs `pulumi`, to be added to the caller's environment.

    The plugins come from the project's own Pulumi home, so that the engine finds exactly the pinned ones, without
    downloads and warnings. The caller sets backend and passphrase.
    """
    return {
        "PATH": f"{BINARIES}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PULUMI_HOME": str(DIRECTORY / "pulumi"),
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
