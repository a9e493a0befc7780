"""`lyceum restore`: new servers with the state of a backup; the same path whether one of them lives or all are lost.

Servers are made anew by the engine and the first one starts from the snapshot, so a restore is an ordinary run of the
graph; workers, and what runs on them, are left alone and find the cluster again, because its CA is in the snapshot.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.errors import LyceumError, OperationRefusedError
from config.hosts import Role
from config.tokens import TokenKind
from ops import audit_log
from ops.backup import passphrase
from ops.backup.commands import S3_PREFIX, StackName
from ops.backup.inventory import StoredObject
from ops.backup.key_escrow import ESCROW_OBJECT, STATE_OBJECT, read_escrow, unseal_seed, unseal_state
from ops.backup.metadata import BackupError, SnapshotMetadata, find_local_backup, token_generation, verify_backup
from ops.backup.transfer import (
    backup_directory,
    download_snapshot,
    find_newer_snapshot,
    find_stored_snapshot,
    open_store,
)
from ops.clients.kubernetes import Kube
from ops.clients.ssh import host_keys
from ops.console import console, step
from ops.credentials.save import save_tokens
from ops.credentials.secrets import store_secret as keep_secret
from ops.engine.engine import PARALLEL, Engine, State
from ops.engine.lost import without_machines
from ops.engine.pending_operations import proxmox, settle
from ops.engine.removal import unprotected
from ops.engine.stack import Stack
from ops.nodes import osds, vm
from ops.nodes.commands import begin
from ops.nodes.decommission import delete_node
from ops.nodes.facts import is_ready
from ops.nodes.remove import connect_to_cluster
from ops.nodes.vm import Vm
from ops.wait import NotReadyError, WaitTimeoutError, retry

if TYPE_CHECKING:
    from ops.backup.s3 import ObjectStore

RESTORE_SETTING = "restore-from"
NOT_READY_SECONDS = 120
"""The API calls a node silent after fifty seconds; its word for one from a snapshot begins anew."""


def restore(
    stack: StackName,
    *,
    source: Annotated[
        str, typer.Option("--from", help="A backup's name, its file, `s3:NAME`, or `latest` of both places.")
    ] = "latest",
    to: Annotated[Path | None, typer.Option("--directory", help="Where backups are kept.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, touch nothing.")] = False,
    escrow: Annotated[
        str, typer.Option(help="Take the seed from its escrow: `s3`, or a file. By itself where there is no seed here.")
    ] = "",
    passphrase_file: passphrase.PassphraseFile = None,
    yes_restore: Annotated[str, typer.Option(metavar="SITE", help="The explicit word: the name of the site.")] = "",
) -> None:
    """Makes all servers anew and puts a backup's state back; what happened since is forgotten."""
    engine = begin(stack)
    chosen = engine.stack
    home = backup_directory(chosen, to)
    try:
        store = open_store(chosen)
        seed, found = _find_seed(chosen, store, escrow, passphrase_file)
        file = (
            Path(chosen.settings[RESTORE_SETTING])
            if RESTORE_SETTING in chosen.settings
            else _find_backup(chosen, store, home, source)
        )
        note = verify_backup(file, seed, chosen.site.name)
    except BackupError as error:
        raise OperationRefusedError(str(error)) from error
    servers = [node.name for node in chosen.nodes if node.role is Role.SERVER]
    _print_plan(file, note, servers, chosen.site.k3s.version)
    if (number := token_generation(note, seed) or 1) != chosen.generations.server_token:
        console.print(
            f"  [yellow]![/] it needs generation {number} of the server token, which is then in use again; afterwards: "
            f"./lyceum secrets rotate {chosen.site.name} {TokenKind.SERVER}"
        )
    if dry_run:
        console.print("nothing was touched")
        return
    if yes_restore != chosen.site.name:
        raise OperationRefusedError(
            f"what happened since {note.taken} will be forgotten; if that is meant: --yes-restore {chosen.site.name}"
        )
    with engine.alone() as lock:
        if found:
            keep_secret(chosen, "seed", seed)
        state = _recover_state(engine, settle(engine), store, seed)
        due = servers_to_replace(list(audit_log.read_entries(stack)), servers, host_keys(state))
        known = vm.machines(state)
        going = [known[name] for name in due if name in known]
        if RESTORE_SETTING not in chosen.settings:
            audit_log.record_operation(
                stack, "restore", {"from": file.name, "host_keys": host_keys(state), "nodes": servers}
            )
        chosen.set(RESTORE_SETTING, str(file))
        _activate_generation(chosen, number)
        # Workers too: the engine would take a VM that is gone for what it was.
        lost = {one.name: one.host for one in vm.missing_from_proxmox(engine, known.values())}
        if lost:
            console.print(f"[yellow]![/] gone from Proxmox, made anew: {', '.join(sorted(lost))}")
        going = [one for one in going if one.name not in lost]
        _power_off(engine, going)
        engine.replace_state(without_machines(unprotected(state, {one.urn for one in going}), lost, lost.values()))
        replaced = [word for one in going for word in ("--replace", one.urn)]
        common = ("up", "--yes", "--skip-preview", f"--parallel={PARALLEL}", "--message", f"restore {file.name}")
        if code := engine.run(*common, *replaced, lock=lock):
            raise LyceumError(
                f"the restore is not complete; run it again: it goes on where it stopped (code {code})", exit_code=code
            )
        save_tokens(engine)
        if kube := connect_to_cluster(engine):
            remove_departed_nodes(kube, set(vm.machines(engine.export())))
        chosen.set(RESTORE_SETTING, None)
        audit_log.record_operation(stack, "restored", {"from": file.name, "nodes": servers})
        raise typer.Exit(engine.run(*common, lock=lock))


def _print_plan(file: Path, note: SnapshotMetadata, servers: list[str], version: str) -> None:
    console.print(f"[green]✓[/] {file.name}: whole, taken {note.taken} on {note.server}; the token is there")
    console.print(f"  {', '.join(servers)} will be made anew; workers and their pods stay as they are")
    if note.version and note.version != version:
        console.print(f"  [yellow]![/] it was taken under K3s {note.version}, and the site's file says {version}")


def _find_seed(
    chosen: Stack, store: "ObjectStore | None", escrow: str, passphrase_file: Path | None
) -> tuple[str, bool]:
    """The seed, and whether it came out of its escrow."""
    here = None if escrow else chosen.known_secret("seed")
    if here:
        return here, False
    if escrow not in {"", "s3"}:
        if not Path(escrow).is_file():
            raise BackupError(f"there is no escrow {escrow}")
        content: bytes | None = Path(escrow).read_bytes()
    else:
        content = store.read_object(ESCROW_OBJECT) if store else None
    if content is None:
        raise BackupError(
            f"token missing: snapshot unusable. {chosen.name} has no seed, and no escrow lies beside the snapshots; "
            f"bring the seed back: ./lyceum secrets set {chosen.site.name} seed, or --escrow FILE"
        )
    told = read_escrow(content)
    console.print(f"the seed of {told.site} lies in escrow since {told.made}")
    return unseal_seed(content, passphrase.ask_passphrase(passphrase_file)), True


def _find_backup(chosen: Stack, store: "ObjectStore | None", home: Path, source: str) -> Path:
    """The file of a backup, brought from the store where it lies only there."""
    if source.startswith(S3_PREFIX):
        if store is None:
            raise BackupError(f"{chosen.site.name} has no store: set platform.backup.s3 in its file")
        one: StoredObject | None = find_stored_snapshot(store, source.removeprefix(S3_PREFIX))
    else:
        one = find_newer_snapshot(store, home) if source == "latest" and store else None
    if one is None or store is None:
        return find_local_backup(home, source)
    with step(f"bring {one.name} from {store.location()}"):
        return download_snapshot(chosen, store, one, home)


def _activate_generation(chosen: Stack, found: int) -> None:
    """Puts the server token in use that opens the snapshot; one that was rotated away since is used again."""
    before = chosen.generations
    if found != before.current(TokenKind.SERVER) or before.rotating is TokenKind.SERVER:
        newest = max(found, before.newest)
        chosen.set_generations(before.with_generation(TokenKind.SERVER, found).model_copy(update={"newest": newest}))
        console.print(
            f"[yellow]![/] the snapshot was taken under generation {found} of the server token, now in use again"
        )


def _recover_state(engine: Engine, state: State, store: "ObjectStore | None", seed: str) -> State:
    """The engine's state, from the store where there is none: every layer would be made twice, on a cluster that has it."""
    if store is None or state["deployment"].get("resources"):
        return state
    content = store.read_object(STATE_OBJECT)
    if content is None:
        console.print(
            "[yellow]![/] no engine's state lies in S3: what the snapshot holds and the engine makes will collide"
        )
        return state
    with step("the engine's state comes back from S3"):
        engine.replace_state(json.loads(unseal_state(content, seed, engine.stack.site.name)))
    return engine.export()


def servers_to_replace(entries: list[State], servers: list[str], keys: dict[str, str]) -> list[str]:
    """Servers that a restore has yet to make anew: all, or after an interruption those that show their old host key."""
    for entry in reversed(entries):
        if entry["operation"] == "restored":
            return servers
        if entry["operation"] == "restore":
            return [name for name in servers if name in keys and keys[name] == entry["host_keys"].get(name)]
    return servers


def remove_departed_nodes(kube: Kube, known: set[str]) -> None:
    """Forgets machines that left after the snapshot was taken: it brings their Nodes back, and nobody will keep them.

    Args:
        kube: The restored cluster.
        known: Names of the machines that there are.
    """

    def silent() -> list[str]:
        strangers = [node for node in kube.items("/api/v1/nodes") if node["metadata"]["name"] not in known]
        if alive := [node["metadata"]["name"] for node in strangers if is_ready(node)]:
            raise NotReadyError(f"{', '.join(alive)} may be alive, and is none of our machines")
        return [node["metadata"]["name"] for node in strangers]

    try:
        names = retry("Kubernetes to miss machines that are gone", NOT_READY_SECONDS, silent)
    except WaitTimeoutError as error:
        console.print(f"[yellow]![/] {error}: its Node is left alone")
        return
    for name in names:
        with step(f"forget {name}, which left after the snapshot"):
            delete_node(kube, name)
            osds.delete_osds(kube, name)


def _power_off(engine: Engine, going: list[Vm]) -> None:
    """No old server may answer at the API address, or vote, beside the new ones."""
    pve = proxmox(engine)
    for one in going:
        if not vm.is_stopped(pve, one):
            with step(f"switch {one.name} off"):
                vm.shut_down(pve, one)
