"""Reads the recovery passphrase: from the terminal, a file or the environment; never from an argument, which `ps` shows."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from config.errors import LyceumError, UsageError
from ops.backup.key_escrow import MIN_PASSPHRASE_LENGTH

ENVIRONMENT_VARIABLE = "LYCEUM_RECOVERY_PASSPHRASE"
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help=f"File with the recovery passphrase; or ${ENVIRONMENT_VARIABLE}."),
]


def ask_passphrase(file: Path | None) -> str:
    """The passphrase of an existing escrow."""
    return _read_passphrase(file) or getpass.getpass("recovery passphrase: ")


def choose_passphrase(file: Path | None) -> str:
    """The passphrase of a new escrow; typed twice on a terminal.

    Raises:
        LyceumError: the two entries differ, or the passphrase is too short.
    """
    text = _read_passphrase(file)
    if text is None:
        text = getpass.getpass("recovery passphrase (keep it on paper, away from this machine): ")
        if getpass.getpass("again: ") != text:
            raise LyceumError("the two passphrases differ; nothing was written")
    if len(text) < MIN_PASSPHRASE_LENGTH:
        raise UsageError(
            f"a recovery passphrase needs at least {MIN_PASSPHRASE_LENGTH} characters: it protects the whole cluster"
        )
    return text


def _read_passphrase(file: Path | None) -> str | None:
    if file:
        if not file.is_file():
            raise UsageError(f"the passphrase file {file} does not exist")
        return file.read_text().strip()
    if text := os.environ.get(ENVIRONMENT_VARIABLE):
        return text
    if not sys.stdin.isatty():
        raise UsageError(
            f"the recovery passphrase is missing: run this on a terminal, or set --passphrase-file or ${ENVIRONMENT_VARIABLE}"
        )
    return None
