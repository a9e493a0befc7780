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

from config.backup_keys import fingerprint
from ops import audit_log
from ops.backup import passphrase
from ops.backup.inventory import age, merged, moment, written
from ops.backup.key_escrow import OBJECT, seal
from ops.backup.metadata import BackupError, Note, choose, listed, verify
from ops.backup.replicas import copies, snapshots, told
from ops.backup.transfer import (
    ESCROW,
    carry,
    directory,
    escrow_in,
    fetched,
    in_a_file,
    named,
    no_escrow,
    overview,
    store_of,
    take,
)
from ops.clients.kubernetes import Kube
from ops.console import console, fail, step
from ops.engine.stack import Stack
from ops.files import PRIVATE, write_whole
from ops.nodes.commands import begin
from ops.nodes.remove import reachable

if TYPE_CHECKING:
    from ops.backup.s3 import Store

app = typer.Typer(no_args_is_help=True, help="Backups of the cluster's state.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
Directory = Annotated[Path | None, typer.Option(help="Where backups are kept; .lyceum/backups/<site> if not given.")]

FROM_S3 = "s3:"
"""Before the name of a snapshot that lies in S3."""


@app.command()
def now(stack: StackName, *, to: Directory = None) -> None:
    """Takes a snapshot of etcd, brings it here and to S3, and proves that it can be used."""
    engine = begin(stack)
    kube = reachable(engine)
    if kube is None:
        fail(f"{stack} has no cluster yet; ./lyceum up {stack}")
    file = take(engine, kube, directory(engine.stack, to))
    console.print(f"[green]✓[/] {file}")
    try:
        store = store_of(engine.stack)
        if store:
            with step(f"snapshot and engine's state in {store.location()}"):
                carry(engine, kube, store, file)
        escrow = escrow_in(store)
    except BackupError as error:
        fail(str(error))
    if not (escrow or in_a_file(stack)):
        console.print(f"[yellow]![/] {no_escrow(stack)}")


@app.command("list")
def list_backups(
    stack: StackName,
    *,
    to: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="For tools.")] = False,
) -> None:
    """Shows every snapshot and where it lies: on servers, their copies, here, in S3; and what is worrying about them."""
    engine = begin(stack)
    found, kept = overview(engine.stack, Kube.of(engine), directory(engine.stack, to)), copies(engine)
    found = replace(
        found,
        snapshots=merged(found.snapshots, snapshots(kept)),
        worries=[*found.worries, *(told(one) for one in kept if one.problem)],
    )
    if as_json:
        console.print_json(json.dumps(asdict(found)))
        return
    table = Table("snapshot", "taken", "age", "MiB", "where", title=engine.stack.site.title)
    table.columns[0].no_wrap = True  # it is what `--from` takes
    for one in found.snapshots:
        size, where = f"{one.size / 1024**2:.1f}", ", ".join(one.places)
        table.add_row(one.name, moment(one.taken), age(time.time() - one.taken), size, where)
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
    home = directory(chosen, to)
    seed = chosen.secret("seed")
    proven: dict[str, Note] = {}
    try:
        store = store_of(chosen)
        if not name.startswith(FROM_S3):
            files = [choose(home, name)] if name else listed(home)
            proven |= {file.name: verify(file, seed, chosen.site.name) for file in files}
        if store and (name.startswith(FROM_S3) or (not name and store.snapshots())):
            proven |= _from_store(chosen, store, name.removeprefix(FROM_S3) or "latest", seed, home)
        elif name.startswith(FROM_S3):
            fail(f"{chosen.site.name} has no store: set platform.backup.s3 in its file")
        escrow = escrow_in(store)
    except BackupError as error:
        fail(str(error))
    if not proven:
        fail(f"there is no backup in {home} nor in S3; ./lyceum backup now {stack}")
    for title, note in proven.items():
        console.print(f"[green]✓[/] {title}: whole, taken {note.taken}, the token is there")
    if escrow and escrow.seed != fingerprint(seed):
        fail(f"the escrow made {escrow.made} holds another seed than this stack's: ./lyceum backup escrow {stack}")
    if escrow:
        console.print(f"[green]✓[/] the escrow made {escrow.made} holds the seed that opens them")
    elif not in_a_file(stack):
        console.print(f"[yellow]![/] {no_escrow(stack)}")


@app.command()
def escrow(
    stack: StackName,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="Write it into this file instead of beside the snapshots.")
    ] = None,
    passphrase_file: passphrase.File = None,
) -> None:
    """Puts the seed in escrow, under a recovery passphrase: with it and the bucket everything can be restored."""
    chosen = begin(stack).stack
    seed = chosen.secret("seed")
    try:
        store = None if file else store_of(chosen)
        if file is None and store is None:
            fail(f"{chosen.site.name} has no store (platform.backup.s3): give --file, and keep that file elsewhere")
        content = seal(seed, chosen.site.name, written(time.time()), passphrase.chosen(passphrase_file))
        where = str(file)
        if file:
            write_whole(file, content.decode(), PRIVATE)
        if store:
            store.write(OBJECT, content)
            where = store.location(OBJECT)
    except BackupError as error:
        fail(str(error))
    audit_log.record(stack, ESCROW, {"where": where, "seed": fingerprint(seed)})
    console.print(f"[green]✓[/] the seed lies in {where}; the passphrase is nowhere but with you")


def _from_store(stack: Stack, store: "Store", name: str, seed: str, home: Path) -> dict[str, Note]:
    with tempfile.TemporaryDirectory(dir=home) as room:
        one = named(store, name)
        return {f"{FROM_S3}{one.name}": verify(fetched(stack, store, one, Path(room)), seed, stack.site.name)}
