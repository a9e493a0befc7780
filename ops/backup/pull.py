"""`lyceum backup bring`: a copy of the operators' machine becomes a backup that is here."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from components.cluster.snapshot_access import COPIES
from ops.backup.commands import Directory, StackName
from ops.backup.metadata import BackupError, SnapshotMetadata, find_token_hash, verify_backup, write_metadata
from ops.backup.replicas import ReplicaStatus, gather_replicas
from ops.backup.transfer import backup_directory
from ops.clients.ssh import remotes
from ops.console import console, step
from ops.engine.engine import Engine
from ops.nodes.commands import begin

NOT_METADATA = {"file", "size"}
"""What a machine says of a copy beside its note."""


def pull_backup(
    stack: StackName,
    name: Annotated[str, typer.Argument(help="Which, as `status` names it; `latest` is the newest.")] = "latest",
    *,
    to: Directory = None,
) -> None:
    """Brings a copy of a snapshot here from the operators' machine, and proves that it can be used."""
    engine = begin(stack)
    machine, file = find_replica(gather_replicas(engine), name)
    local = _download_replica(engine, machine, str(file["file"]), backup_directory(engine.stack, to))
    seed = engine.stack.secret("seed")
    note = SnapshotMetadata(**{key: value for key, value in file.items() if key not in NOT_METADATA})
    # A machine that only copies does not know which token opens what it copies.
    write_metadata(local, replace(note, token=note.token or find_token_hash(local.read_bytes(), seed)))
    verify_backup(local, seed, engine.stack.site.name)
    console.print(f"[green]✓[/] {local}")


def find_replica(found: list[ReplicaStatus], name: str) -> tuple[str, dict[str, Any]]:
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


def _download_replica(engine: Engine, machine: str, name: str, target: Path) -> Path:
    remote = remotes(engine, tuple(node for node in engine.stack.nodes if node.name == machine))[machine]
    file = target / name
    with step(f"{name} from {machine}"):
        remote.fetch(f"cat {shlex.quote(f'{COPIES}/{name}')}", file)
    return file
