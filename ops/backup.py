"""`lyceum backup now|list|verify`."""

import hashlib
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from config.hosts import Node, Role
from ops.backups import SUFFIX, BackupError, Note, fingerprint, listed, prune, read_note, verify, write_note
from ops.backups import choose as choose_backup
from ops.console import console, fail, step
from ops.engine import Engine
from ops.kube import Kube, Object
from ops.nodes.commands import begin
from ops.nodes.leave import reachable
from ops.nodes.objections import healthy_server
from ops.remote import Remote, RemoteError, remotes
from ops.stack import STATE, Stack

app = typer.Typer(no_args_is_help=True, help="Backups of the cluster's state.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
Directory = Annotated[Path | None, typer.Option(help="Where backups are kept; .lyceum/backups/<site> if not given.")]

NAME = "lyceum"
ON_SERVER = "/var/lib/rancher/k3s/server/db/snapshots"


def directory(stack: Stack, chosen: Path | None) -> Path:
    """Where a stack's backups are; nobody else may read them, for they hold every Secret's encrypted text."""
    path = chosen or STATE / "backups" / stack.site.name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def take_script(keep: int) -> str:
    """Takes a snapshot on a server, keeps the newest, and prints the path of the new one and its SHA-256."""
    return f"""set -euo pipefail
/usr/local/bin/k3s etcd-snapshot save --name {NAME} >&2
/usr/local/bin/k3s etcd-snapshot prune --name {NAME} --snapshot-retention {keep} >&2
file=$(find {ON_SERVER} -maxdepth 1 -name '{NAME}-*' -type f -printf '%T@ %p\\n' | sort -n | tail -1 | cut -d' ' -f2-)
sha256sum "$file"
"""


@app.command()
def now(stack: StackName, *, to: Directory = None) -> None:
    """Takes a snapshot of etcd, brings it here, and proves that it can be used."""
    engine = begin(stack)
    kube = reachable(engine)
    if kube is None:
        fail(f"{stack} has no cluster yet; ./lyceum up {stack}")
    file = take(engine, kube, directory(engine.stack, to))
    console.print(f"[green]✓[/] {file}")


def take(engine: Engine, kube: Kube, target: Path) -> Path:
    """Takes a backup from a healthy server; ends the command where none can."""
    stack = engine.stack
    nodes = {node["metadata"]["name"]: node for node in kube.items("/api/v1/nodes")}
    servers = tuple(node for node in stack.nodes if node.role is Role.SERVER)
    able = [node for node in servers if node.name in nodes and healthy_server(nodes[node.name])]
    if not able:
        fail(
            "no server is Ready and a voter of etcd; ./lyceum status shows which, docs/operations/restore.md what to do"
        )
    chosen = able[0]
    try:
        remote = remotes(engine, (chosen,))[chosen.name]
        with step(f"snapshot on {chosen.name}"):
            file, digest = _bring(remote, stack.site.k3s.snapshots.keep, target / _file_name(stack))
        seed = stack.secret("seed")
        write_note(file, _note(stack, chosen, nodes, digest, seed))
        verify(file, seed, stack.site.name)
    except (RemoteError, BackupError) as error:
        fail(str(error))
    prune(target, stack.site.k3s.snapshots.keep)
    return file


def _file_name(stack: Stack) -> str:
    return f"{stack.site.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{SUFFIX}"


def _bring(remote: Remote, keep: int, target: Path) -> tuple[Path, str]:
    digest, path = remote.run(take_script(keep)).split(maxsplit=1)
    partial = target.with_name(target.name + ".part")
    remote.fetch(f"cat {shlex.quote(path.strip())}", partial)
    if hashlib.sha256(partial.read_bytes()).hexdigest() != digest:
        raise BackupError(f"{remote.name}: the snapshot changed on its way here; run this again")
    partial.rename(target)
    return target, digest


def _note(stack: Stack, server: Node, nodes: dict[str, Object], digest: str, seed: str) -> Note:
    return Note(
        site=stack.site.name,
        stack=stack.name,
        taken=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        server=server.name,
        version=nodes[server.name]["status"]["nodeInfo"]["kubeletVersion"],
        nodes=len(nodes),
        sha256=digest,
        seed=fingerprint(seed),
    )


@app.command("list")
def list_backups(stack: StackName, *, to: Directory = None) -> None:
    """Shows the backups that are kept here."""
    chosen = Stack(stack)
    table = Table("backup", "taken", "K3s", "nodes", "from", "MiB", title=chosen.site.title)
    for file in listed(directory(chosen, to)):
        note = read_note(file)
        size = f"{file.stat().st_size / 1024**2:.1f}"
        table.add_row(file.name, note.taken, note.version, str(note.nodes), note.server, size)
    console.print(table)


@app.command("verify")
def verify_backups(
    stack: StackName,
    name: Annotated[str, typer.Argument(help="Which; all if not given.")] = "",
    *,
    to: Directory = None,
) -> None:
    """Proves that backups are whole and that this stack's token opens them."""
    chosen = Stack(stack)
    home = directory(chosen, to)
    try:
        files = [choose_backup(home, name)] if name else listed(home)
        notes = {file: verify(file, chosen.secret("seed"), chosen.site.name) for file in files}
    except BackupError as error:
        fail(str(error))
    if not notes:
        fail(f"there is no backup in {home}; ./lyceum backup now {stack}")
    for file, note in notes.items():
        console.print(f"[green]✓[/] {file.name}: whole, taken {note.taken}, the token is there")
