"""`lyceum backup now|list|verify|escrow`."""

import json
import tempfile
import time
from dataclasses import asdict, replace
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
from ops.engine.stack import Stack
from ops.files import PRIVATE, write_whole
from ops.nodes.commands import begin
from ops.nodes.remove import connect_to_cluster

if TYPE_CHECKING:
    from ops.backup.s3 import ObjectStore

app = typer.Typer(no_args_is_help=True, help="Backups of the cluster's state.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
Directory = Annotated[Path | None, typer.Option(help="Where backups are kept; .lyceum/backups/<site> if not given.")]

S3_PREFIX = "s3:"
"""Before the name of a snapshot that lies in S3."""


@app.command("now")
def create_backup(stack: StackName, *, to: Directory = None) -> None:
    """Takes a snapshot of etcd, brings it here and to S3, and proves that it can be used."""
    engine = begin(stack)
    kube = connect_to_cluster(engine)
    if kube is None:
        raise LyceumError(f"{stack} has no cluster yet; ./lyceum up {stack}")
    file = take_backup(engine, kube, backup_directory(engine.stack, to))
    console.print(f"[green]✓[/] {file}")
    store = open_store(engine.stack)
    if store:
        with step(f"snapshot and engine's state in {store.location()}"):
            complete_upload(engine, kube, store, file)
    escrow = read_stored_escrow(store)
    if not (escrow or has_escrow_file(stack)):
        console.print(f"[yellow]![/] {missing_escrow_warning(stack)}")


@app.command("list")
def list_backups(
    stack: StackName,
    *,
    to: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="For tools.")] = False,
) -> None:
    """Shows every snapshot and where it lies: on servers, their copies, here, in S3; and what is worrying about them."""
    engine = begin(stack)
    found, kept = (
        gather_overview(engine.stack, Kube.of(engine), backup_directory(engine.stack, to)),
        gather_replicas(engine),
    )
    found = replace(
        found,
        snapshots=merge_entries(found.snapshots, replica_snapshots(kept)),
        worries=[*found.worries, *(describe_replicas(one) for one in kept if one.problem)],
    )
    if as_json:
        console.print_json(json.dumps(asdict(found)))
        return
    table = Table("snapshot", "taken", "age", "MiB", "where", title=engine.stack.site.title)
    table.columns[0].no_wrap = True  # it is what `--from` takes
    for one in found.snapshots:
        size, where = f"{one.size / 1024**2:.1f}", ", ".join(one.places)
        table.add_row(one.name, format_time(one.taken), format_age(time.time() - one.taken), size, where)
    console.print(table)
    if found.escrow:
        console.print(f"seed in escrow since {found.escrow.made}")
    for worry in found.worries:
        console.print(f"[yellow]![/] {escape(worry)}")


@app.command("verify")
def verify_backups(
    stack: StackName,
    name: Annotated[
        str, typer.Argument(help="Which, `s3:NAME` for one in S3; all here and the newest in S3 if not given.")
    ] = "",
    *,
    to: Directory = None,
) -> None:
    """Proves that backups are whole, that this stack's token opens them, and that the escrow holds its seed."""
    chosen = begin(stack).stack
    home = backup_directory(chosen, to)
    seed = chosen.secret("seed")
    proven: dict[str, SnapshotMetadata] = {}
    store = open_store(chosen)
    if not name.startswith(S3_PREFIX):
        files = [find_local_backup(home, name)] if name else local_backups(home)
        proven |= {file.name: verify_backup(file, seed, chosen.site.name) for file in files}
    if store and (name.startswith(S3_PREFIX) or (not name and store.list_snapshots())):
        proven |= _verify_stored(chosen, store, name.removeprefix(S3_PREFIX) or "latest", seed, home)
    elif name.startswith(S3_PREFIX):
        raise LyceumError(f"{chosen.site.name} has no store: set platform.backup.s3 in its file")
    escrow = read_stored_escrow(store)
    if not proven:
        raise LyceumError(f"there is no backup in {home} nor in S3; ./lyceum backup now {stack}")
    for title, note in proven.items():
        console.print(f"[green]✓[/] {title}: whole, taken {note.taken}, the token is there")
    if escrow and escrow.seed != seed_fingerprint(seed):
        raise LyceumError(
            f"the escrow made {escrow.made} holds another seed than this stack's: ./lyceum backup escrow {stack}"
        )
    if escrow:
        console.print(f"[green]✓[/] the escrow made {escrow.made} holds the seed that opens them")
    elif not has_escrow_file(stack):
        console.print(f"[yellow]![/] {missing_escrow_warning(stack)}")


@app.command("escrow")
def escrow_seed(
    stack: StackName,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="Write it into this file instead of beside the snapshots.")
    ] = None,
    passphrase_file: passphrase.PassphraseFile = None,
) -> None:
    """Puts the seed in escrow, under a recovery passphrase: with it and the bucket everything can be restored."""
    chosen = begin(stack).stack
    seed = chosen.secret("seed")
    store = None if file else open_store(chosen)
    if file is None and store is None:
        raise LyceumError(
            f"{chosen.site.name} has no store (platform.backup.s3): give --file, and keep that file elsewhere"
        )
    content = seal_seed(
        seed, chosen.site.name, format_timestamp(time.time()), passphrase.choose_passphrase(passphrase_file)
    )
    where = str(file)
    if file:
        write_whole(file, content.decode(), PRIVATE)
    if store:
        store.write_object(ESCROW_OBJECT, content)
        where = store.location(ESCROW_OBJECT)
    audit_log.record_operation(stack, ESCROW_OPERATION, {"where": where, "seed": seed_fingerprint(seed)})
    console.print(f"[green]✓[/] the seed lies in {where}; the passphrase is nowhere but with you")


def _verify_stored(stack: Stack, store: "ObjectStore", name: str, seed: str, home: Path) -> dict[str, SnapshotMetadata]:
    with tempfile.TemporaryDirectory(dir=home) as room:
        one = find_stored_snapshot(store, name)
        return {
            f"{S3_PREFIX}{one.name}": verify_backup(
                download_snapshot(stack, store, one, Path(room)), seed, stack.site.name
            )
        }
