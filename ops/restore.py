"""`lyceum restore`: new servers with the state of a backup; the same path whether one of them lives or all are lost.

Servers are made anew by the engine and the first one starts from the snapshot, so a restore is an ordinary run of the
graph; workers, and what runs on them, are left alone and find the cluster again, because its CA is in the snapshot.
"""

from pathlib import Path
from typing import Annotated

import typer

from components.hosts.pve import PveError
from config.hosts import Role
from ops import journal
from ops.backup import StackName, directory
from ops.backups import BackupError, Note, choose, verify
from ops.console import REFUSED, console, fail, step
from ops.engine import PARALLEL, Engine, State
from ops.nodes import machine
from ops.nodes.commands import begin
from ops.nodes.machine import Machine, NotOursError
from ops.remote import host_keys
from ops.removal import unprotected
from ops.settle import proxmox, settle

SETTING = "restore-from"


def restore(
    stack: StackName,
    *,
    source: Annotated[str, typer.Option("--from", help="A backup's name, its file, or `latest`.")] = "latest",
    to: Annotated[Path | None, typer.Option("--directory", help="Where backups are kept.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, touch nothing.")] = False,
    yes_restore: Annotated[str, typer.Option(metavar="SITE", help="The explicit word: the name of the site.")] = "",
) -> None:
    """Makes all servers anew and puts a backup's state back; what happened since is forgotten."""
    engine = begin(stack)
    chosen = engine.stack
    try:
        file = Path(chosen.settings[SETTING]) if SETTING in chosen.settings else choose(directory(chosen, to), source)
        note = verify(file, chosen.secret("seed"), chosen.site.name)
    except BackupError as error:
        fail(str(error), REFUSED)
    servers = [node.name for node in chosen.nodes if node.role is Role.SERVER]
    _tell(file, note, servers, chosen.site.k3s.version)
    if dry_run:
        console.print("nothing was touched")
        return
    if yes_restore != chosen.site.name:
        fail(
            f"what happened since {note.taken} will be forgotten; if that is meant: --yes-restore {chosen.site.name}",
            REFUSED,
        )
    with engine.alone() as lock:
        state = settle(engine)
        due = still_old(list(journal.entries(stack)), servers, host_keys(state))
        known = machine.machines(state)
        going = [known[name] for name in due if name in known]
        if SETTING not in chosen.settings:
            journal.record(stack, "restore", {"from": file.name, "host_keys": host_keys(state), "nodes": servers})
        chosen.set(SETTING, str(file))
        _switch_off(engine, going)
        engine.replace_state(unprotected(state, {one.urn for one in going}))
        replaced = [word for one in going for word in ("--replace", one.urn)]
        common = ("up", "--yes", "--skip-preview", f"--parallel={PARALLEL}", "--message", f"restore {file.name}")
        if code := engine.run(*common, *replaced, lock=lock):
            fail(f"the restore is not complete; run it again: it goes on where it stopped (code {code})", code)
        chosen.set(SETTING, None)
        journal.record(stack, "restored", {"from": file.name, "nodes": servers})
        raise typer.Exit(engine.run(*common, lock=lock))


def _tell(file: Path, note: Note, servers: list[str], version: str) -> None:
    console.print(f"[green]✓[/] {file.name}: whole, taken {note.taken} on {note.server}; the token is there")
    console.print(f"  {', '.join(servers)} will be made anew; workers and their pods stay as they are")
    if note.version != version:
        console.print(f"  [yellow]![/] it was taken under K3s {note.version}, and the site's file says {version}")


def still_old(entries: list[State], servers: list[str], keys: dict[str, str]) -> list[str]:
    """Servers that a restore has yet to make anew: all, or after an interruption those that show their old host key."""
    for entry in reversed(entries):
        if entry["operation"] == "restored":
            return servers
        if entry["operation"] == "restore":
            return [name for name in servers if name in keys and keys[name] == entry["host_keys"].get(name)]
    return servers


def _switch_off(engine: Engine, going: list[Machine]) -> None:
    """No old server may answer at the API address, or vote, beside the new ones."""
    pve = proxmox(engine)
    for one in going:
        try:
            if not machine.is_off(pve, one):
                with step(f"switch {one.name} off"):
                    machine.switch_off(pve, one)
        except (PveError, NotOursError) as error:
            fail(str(error))
