"""Asks for the recovery passphrase: typed, from a file, or from the environment; never an argument, which everybody can read."""

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
    """The passphrase of an escrow that exists."""
    return _read_passphrase(file) or getpass.getpass("recovery passphrase: ")


def choose_passphrase(file: Path | None) -> str:
    """The passphrase of a new escrow; typed twice, and not short."""
    text = _read_passphrase(file)
    if text is None:
        text = getpass.getpass("recovery passphrase (write it down where the campus's papers are): ")
        if getpass.getpass("again: ") != text:
            raise LyceumError("those were two different passphrases; nothing was written")
    if len(text) < MIN_PASSPHRASE_LENGTH:
        raise UsageError(
            f"a recovery passphrase has at least {MIN_PASSPHRASE_LENGTH} characters: whoever guesses it has the whole cluster"
        )
    return text


def _read_passphrase(file: Path | None) -> str | None:
    if file:
        if not file.is_file():
            raise UsageError(f"there is no file {file} with the passphrase")
        return file.read_text().strip()
    if text := os.environ.get(ENVIRONMENT_VARIABLE):
        return text
    if not sys.stdin.isatty():
        raise UsageError(
            f"the recovery passphrase is missing: type it on a terminal, or give --passphrase-file or ${ENVIRONMENT_VARIABLE}"
        )
    return None
