"""`lyceum backup bring`: downloads a snapshot copy from the maintenance machine and verifies it."""

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

NOT_METADATA = {"file", "size"}
"""Fields that the maintenance machine reports besides the metadata of a copy."""


def pull_backup(
    stack: StackName,
    name: Annotated[str, typer.Argument(help="Name of the copy, as `status` prints it, or `latest`.")] = "latest",
    *,
    to: Directory = None,
) -> None:
    """Downloads a snapshot copy from the maintenance machine and verifies that it can be restored."""
    engine = Engine.open(stack)
    machine, file = find_replica(gather_replicas(engine), name)
    local = _download_replica(engine, machine, str(file["file"]), backup_directory(engine.stack, to))
    seed = engine.stack.secret("seed")
    metadata = SnapshotMetadata(**{key: value for key, value in file.items() if key not in NOT_METADATA})
    # The maintenance machine has no seed, so it cannot know the token of a snapshot that it copies.
    write_metadata(local, replace(metadata, token=metadata.token or find_token_hash(local.read_bytes(), seed)))
    verify_backup(local, seed, engine.stack.site.name)
    console.print(f"[green]✓[/] {local}")


def find_replica(replicas: list[ReplicaStatus], name: str) -> tuple[str, dict[str, Any]]:
    """The maintenance machine and its copy with this name, or the newest copy for `latest`.

    Raises:
        BackupError: there is none; the text lists the copies, and the problems of machines without a usable answer.
    """
    copies = [(replica.machine, file) for replica in replicas for file in replica.files]
    matching = [copy for copy in copies if name in {"latest", copy[1]["file"]}]
    if not matching:
        available = ", ".join(str(file["file"]) for _, file in copies) or "none"
        problems = "".join(f"; {replica.machine}: {replica.problem}" for replica in replicas if replica.problem)
        raise BackupError(f"no maintenance machine has a copy `{name}`; available: {available}{problems}")
    return max(matching, key=lambda copy: str(copy[1]["taken"]))


def _download_replica(engine: Engine, machine: str, name: str, target: Path) -> Path:
    remote = remotes(engine, tuple(node for node in engine.stack.nodes if node.name == machine))[machine]
    file = target / name
    with step(f"download {name} from {machine}"):
        remote.fetch(f"cat {shlex.quote(f'{COPIES}/{name}')}", file)
    return file
