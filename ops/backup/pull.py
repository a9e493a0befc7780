"""`lyceum backup bring`: a copy of the operators' machine becomes a backup that is here."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from components.cluster.snapshot_access import COPIES
from ops.backup.commands import Directory, StackName
from ops.backup.metadata import BackupError, Note, token_in, verify, write_note
from ops.backup.replicas import Copies, copies
from ops.backup.transfer import directory
from ops.clients.ssh import RemoteError, remotes
from ops.console import console, fail, step
from ops.engine.engine import Engine
from ops.nodes.commands import begin

NOT_NOTED = {"file", "size"}
"""What a machine says of a copy beside its note."""


def bring(
    stack: StackName,
    name: Annotated[str, typer.Argument(help="Which, as `status` names it; `latest` is the newest.")] = "latest",
    *,
    to: Directory = None,
) -> None:
    """Brings a copy of a snapshot here from the operators' machine, and proves that it can be used."""
    engine = begin(stack)
    try:
        machine, file = chosen(copies(engine), name)
        local = _fetched(engine, machine, str(file["file"]), directory(engine.stack, to))
        seed = engine.stack.secret("seed")
        note = Note(**{key: value for key, value in file.items() if key not in NOT_NOTED})
        # A machine that only copies does not know which token opens what it copies.
        write_note(local, replace(note, token=note.token or token_in(local.read_bytes(), seed)))
        verify(local, seed, engine.stack.site.name)
    except (BackupError, RemoteError) as error:
        fail(str(error))
    console.print(f"[green]✓[/] {local}")


def chosen(found: list[Copies], name: str) -> tuple[str, dict[str, Any]]:
    """The machine and the copy of a name, or of the newest.

    Raises:
        BackupError: there is none; names what there is, or why nobody knows.
    """
    every = [(one.machine, file) for one in found for file in one.files]
    wanted = [entry for entry in every if name in {"latest", entry[1]["file"]}]
    if not wanted:
        there = ", ".join(str(file["file"]) for _, file in every) or "none"
        why = "".join(f"; {one.machine}: {one.problem}" for one in found if one.problem)
        raise BackupError(f"no operators' machine has a copy `{name}`; there: {there}{why}")
    return max(wanted, key=lambda entry: str(entry[1]["taken"]))


def _fetched(engine: Engine, machine: str, name: str, target: Path) -> Path:
    remote = remotes(engine, tuple(node for node in engine.stack.nodes if node.name == machine))[machine]
    file = target / name
    with step(f"{name} from {machine}"):
        remote.fetch(f"cat {shlex.quote(f'{COPIES}/{name}')}", file)
    return file
