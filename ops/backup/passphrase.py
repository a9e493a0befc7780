"""Asks for the recovery passphrase: typed, from a file, or from the environment; never an argument, which everybody can read."""

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.backup.key_escrow import SHORTEST
from ops.console import USAGE, fail

VARIABLE = "LYCEUM_RECOVERY_PASSPHRASE"
File = Annotated[
    Path | None, typer.Option("--passphrase-file", help=f"File with the recovery passphrase; or ${VARIABLE}.")
]


def known(file: Path | None) -> str:
    """The passphrase of an escrow that exists."""
    return _given(file) or getpass.getpass("recovery passphrase: ")


def chosen(file: Path | None) -> str:
    """The passphrase of a new escrow; typed twice, and not short."""
    text = _given(file)
    if text is None:
        text = getpass.getpass("recovery passphrase (write it down where the campus's papers are): ")
        if getpass.getpass("again: ") != text:
            fail("those were two different passphrases; nothing was written")
    if len(text) < SHORTEST:
        fail(
            f"a recovery passphrase has at least {SHORTEST} characters: whoever guesses it has the whole cluster", USAGE
        )
    return text


def _given(file: Path | None) -> str | None:
    if file:
        if not file.is_file():
            fail(f"there is no file {file} with the passphrase", USAGE)
        return file.read_text().strip()
    if text := os.environ.get(VARIABLE):
        return text
    if not sys.stdin.isatty():
        fail(
            f"the recovery passphrase is missing: type it on a terminal, or give --passphrase-file or ${VARIABLE}",
            USAGE,
        )
    return None
