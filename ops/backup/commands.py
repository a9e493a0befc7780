"""`lyceum backup now|list|verify|escrow`."""

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from config.errors import LyceumError
from config.key_derivation import seed_fingerprint
from ops import audit_log
from ops.backup import passphrase
from ops.backup.inventory import format_age, format_time, format_timestamp, merge_entries
from ops.backup.key_escrow import ESCROW_OBJECT, seal_seed
from ops.backup.metadata import SnapshotMetadata, find_local_backup, local_backups, verify_backup
from ops.backup.replicas import describe_replicas, gather_replicas, replica_snapshots
from ops.backup.transfer import (
    ESCROW_OPERATION,
    backup_directory,
    complete_upload,
    download_snapshot,
    find_stored_snapshot,
    gather_overview,
    has_escrow_file,
    missing_escrow_warning,
    open_store,
    read_stored_escrow,
    take_backup,
)
from ops.clients.kubernetes import Kube
from ops.console import console, step
from ops.engine.engine import Engine
from ops.engine.stack import Stack
from ops.files import PRIVATE, write_atomically
from ops.nodes.cluster import require_cluster

if TYPE_CHECKING:
    from ops.backup.s3 import ObjectStore

app = typer.Typer(no_args_is_help=True, help="Backups of the cluster's state.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
Directory = Annotated[Path | None, typer.Option(help="Directory of the backups; default: .lyceum/backups/<site>.")]

S3_PREFIX = "s3:"
"""Prefix of the name of a snapshot in S3."""


@app.command("now")
def create_backup(stack: StackName, *, to: Directory = None) -> None:
    """Takes an etcd snapshot, stores it on this machine and in S3, and verifies it."""
    engine = Engine.open(stack)
    kube = require_cluster(engine)
    file = take_backup(engine, kube, backup_directory(engine.stack, to))
    console.print(f"[green]✓[/] {file}")
    store = open_store(engine.stack)
    if store:
        with step(f"upload to {store.location()}"):
            complete_upload(engine, kube, store, file)
    escrow = read_stored_escrow(store)
    if not (escrow or has_escrow_file(stack)):
        console.print(f"[yellow]![/] {missing_escrow_warning(stack)}")


@app.command("list")
def list_backups(
    stack: StackName,
    *,
    to: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lists every snapshot and where it is stored: servers, maintenance machine, this machine, S3; and warnings."""
    engine = Engine.open(stack)
    overview = gather_overview(engine.stack, Kube.connect(engine), backup_directory(engine.stack, to))
    replicas = gather_replicas(engine)
    overview = replace(
        overview,
        snapshots=merge_entries(overview.snapshots, replica_snapshots(replicas)),
        warnings=[*overview.warnings, *(describe_replicas(replica) for replica in replicas if replica.problem)],
    )
    if as_json:
        console.print_json(json.dumps(overview.as_json()))
        return
    table = Table("snapshot", "taken", "age", "MiB", "where", title=engine.stack.site.title)
    table.columns[0].no_wrap = True  # `restore --from` takes it
    for entry in overview.snapshots:
        size, where = f"{entry.size / 1024**2:.1f}", ", ".join(entry.places)
        table.add_row(entry.name, format_time(entry.taken), format_age(time.time() - entry.taken), size, where)
    console.print(table)
    if overview.escrow:
        console.print(f"escrow of the seed: {overview.escrow.made}")
    for warning in overview.warnings:
        console.print(f"[yellow]![/] {escape(warning)}")


@app.command("verify")
def verify_backups(
    stack: StackName,
    name: Annotated[
        str, typer.Argument(help="A backup, or `s3:NAME` for one in S3; default: all local ones and the newest in S3.")
    ] = "",
    *,
    to: Directory = None,
) -> None:
    """Verifies that backups are intact, that this stack's token decrypts them, and that the escrow holds its seed."""
    engine = Engine.open(stack)
    directory = backup_directory(engine.stack, to)
    seed = engine.stack.secret("seed")
    verified: dict[str, SnapshotMetadata] = {}
    store = open_store(engine.stack)
    if not name.startswith(S3_PREFIX):
        files = [find_local_backup(directory, name)] if name else local_backups(directory)
        verified |= {file.name: verify_backup(file, seed, engine.stack.site.name) for file in files}
    if store and (name.startswith(S3_PREFIX) or (not name and store.list_snapshots())):
        verified |= _verify_stored(engine.stack, store, name.removeprefix(S3_PREFIX) or "latest", seed, directory)
    elif name.startswith(S3_PREFIX):
        raise LyceumError(f"{engine.stack.site.name} has no object store: set platform.backup.s3 in its file")
    escrow = read_stored_escrow(store)
    if not verified:
        raise LyceumError(f"there is no backup in {directory} or in S3: ./lyceum backup now {stack}")
    for title, metadata in verified.items():
        console.print(f"[green]✓[/] {title}: intact, taken {metadata.taken}, this stack's token decrypts it")
    if escrow and escrow.seed != seed_fingerprint(seed):
        raise LyceumError(
            f"the escrow from {escrow.made} holds another seed than this stack's: ./lyceum backup escrow {stack}"
        )
    if escrow:
        console.print(f"[green]✓[/] the escrow from {escrow.made} holds this stack's seed")
    elif not has_escrow_file(stack):
        console.print(f"[yellow]![/] {missing_escrow_warning(stack)}")


@app.command("escrow")
def escrow_seed(
    stack: StackName,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="Write the escrow to this file instead of the object store.")
    ] = None,
    passphrase_file: passphrase.PassphraseFile = None,
) -> None:
    """Stores the seed in escrow, encrypted with a recovery passphrase: with it and the bucket all can be restored."""
    engine = Engine.open(stack)
    seed = engine.stack.secret("seed")
    store = None if file else open_store(engine.stack)
    if file is None and store is None:
        raise LyceumError(
            f"{engine.stack.site.name} has no object store (platform.backup.s3): use --file, and keep that file on another machine"
        )
    content = seal_seed(
        seed, engine.stack.site.name, format_timestamp(time.time()), passphrase.choose_passphrase(passphrase_file)
    )
    where = str(file)
    if file:
        write_atomically(file, content.decode(), PRIVATE)
    if store:
        store.write_object(ESCROW_OBJECT, content)
        where = store.location(ESCROW_OBJECT)
    audit_log.record_operation(stack, ESCROW_OPERATION, {"where": where, "seed": seed_fingerprint(seed)})
    console.print(f"[green]✓[/] escrow written to {where}; the passphrase is not stored anywhere: keep it")


def _verify_stored(
    stack: Stack, store: "ObjectStore", name: str, seed: str, directory: Path
) -> dict[str, SnapshotMetadata]:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        snapshot = find_stored_snapshot(store, name)
        return {
            f"{S3_PREFIX}{snapshot.name}": verify_backup(
                download_snapshot(stack, store, snapshot, Path(scratch)), seed, stack.site.name
            )
        }
