"""`lyceum restore`: replaces all servers and starts them from a backup, whether some of them still run or all are lost.

The engine replaces the servers, and the first one starts from the snapshot, so a restore is an ordinary run of the program.
Workers and their pods keep running and rejoin the cluster, because the snapshot holds its CA.
"""

from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

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
from ops.clients.proxmox import connect_proxmox
from ops.console import console, step
from ops.credentials.rotate import save_tokens
from ops.credentials.secrets import store_secret
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.engine.pulumi_state import State, Vm
from ops.engine.stack import Stack
from ops.nodes import osds, vm
from ops.nodes.cluster import connect_to_cluster
from ops.nodes.decommission import delete_node
from ops.nodes.facts import is_ready
from ops.wait import NotReadyError, WaitTimeoutError, retry

if TYPE_CHECKING:
    from ops.backup.s3 import ObjectStore

RESTORE_SETTING = "restore-from"
NOT_READY_SECONDS = 120
"""Kubernetes marks a silent node NotReady after fifty seconds, counted again from the restore."""


def restore(
    stack: StackName,
    *,
    source: Annotated[
        str, typer.Option("--from", help="Name or file of a backup, `s3:NAME`, or `latest` of this machine and S3.")
    ] = "latest",
    to: Annotated[Path | None, typer.Option("--directory", help="Directory of the backups.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
    escrow: Annotated[
        str,
        typer.Option(
            help="Read the seed from its escrow: `s3` or a file. Default where this machine has no seed: `s3`."
        ),
    ] = "",
    passphrase_file: passphrase.PassphraseFile = None,
    yes_restore: Annotated[str, typer.Option(metavar="SITE", help="The override: the name of the site.")] = "",
) -> None:
    """Replaces all servers and restores a backup's state; changes after the backup are lost."""
    engine = Engine.open(stack)
    site, settings = engine.stack.site, engine.stack.settings
    directory = backup_directory(engine.stack, to)
    try:
        store = open_store(engine.stack)
        seed, from_escrow = _find_seed(engine.stack, store, escrow, passphrase_file)
        if RESTORE_SETTING in settings:  # an interrupted restore continues with its own backup
            file = Path(settings[RESTORE_SETTING])
        else:
            file = _find_backup(engine.stack, store, directory, source)
        metadata = verify_backup(file, seed, site.name)
    except BackupError as error:
        raise OperationRefusedError(str(error)) from error
    generation = token_generation(metadata, seed) or 1
    servers = [node.name for node in engine.stack.nodes if node.role is Role.SERVER]
    _print_plan(file, metadata, servers, site.k3s.version)
    if generation != engine.stack.generations.server_token:
        console.print(
            f"  [yellow]![/] it needs generation {generation} of the server token, which will be in use again; "
            f"afterwards run ./lyceum secrets rotate {site.name} {TokenKind.SERVER}"
        )
    if dry_run:
        console.print("nothing was changed")
        return
    if yes_restore != site.name:
        raise OperationRefusedError(
            f"all changes since {metadata.taken} will be lost; to confirm: --yes-restore {site.name}"
        )
    with engine.hold_lock() as lock:
        if from_escrow:
            store_secret(engine.stack, "seed", seed)
        state = _recover_state(engine, resolve_pending_operations(engine), store, seed)
        raise typer.Exit(_replace_servers(engine, lock, state, file, servers=servers, generation=generation))


def _replace_servers(
    engine: Engine, lock: IO[str], state: State, file: Path, *, servers: list[str], generation: int
) -> int:
    """Replaces the servers by new ones that start from the backup; returns the engine's exit code.

    Raises:
        LyceumError: a step failed; the same command continues.
    """
    stack = engine.stack
    old = servers_to_replace(list(audit_log.read_entries(stack.name)), servers, state.host_keys)
    if RESTORE_SETTING not in stack.settings:
        audit_log.record_operation(
            stack.name, "restore", {"from": file.name, "host_keys": state.host_keys, "nodes": servers}
        )
    stack.set(RESTORE_SETTING, str(file))
    _activate_generation(stack, generation)
    # Lost workers as well: the engine's state still has them, so it would not create them again.
    lost = {machine.name: machine.host for machine in vm.missing_from_proxmox(engine, state.vms.values())}
    if lost:
        console.print(f"[yellow]![/] missing in Proxmox, will be created: {', '.join(sorted(lost))}")
    replaced = [state.vms[name] for name in old if name in state.vms and name not in lost]
    urns = [machine.urn for machine in replaced]
    _power_off(engine, replaced)
    engine.replace_state(state.unprotected(set(urns)).without_machines(lost, lost.values()))
    message = f"restore {file.name}"
    if code := engine.up(lock, message, replace=urns):
        raise LyceumError(f"the restore is not complete (exit code {code}); run it again to continue", exit_code=code)
    save_tokens(engine)
    if kube := connect_to_cluster(engine):
        remove_departed_nodes(kube, set(engine.export().vms))
    stack.set(RESTORE_SETTING, None)
    audit_log.record_operation(stack.name, "restored", {"from": file.name, "nodes": servers})
    return engine.up(lock, message)


def _print_plan(file: Path, metadata: SnapshotMetadata, servers: list[str], version: str) -> None:
    console.print(
        f"[green]✓[/] {file.name}: intact, taken {metadata.taken} on {metadata.server}, this stack's token decrypts it"
    )
    console.print(f"  {', '.join(servers)} will be replaced; workers and their pods are not touched")
    if metadata.version and metadata.version != version:
        console.print(f"  [yellow]![/] it was taken with K3s {metadata.version}; the site file has {version}")


def _find_seed(
    stack: Stack, store: "ObjectStore | None", escrow: str, passphrase_file: Path | None
) -> tuple[str, bool]:
    """The seed, and whether it was read from its escrow."""
    if not escrow and (seed := stack.find_secret("seed")):
        return seed, False
    if escrow not in {"", "s3"}:
        if not Path(escrow).is_file():
            raise BackupError(f"the escrow file {escrow} does not exist")
        content: bytes | None = Path(escrow).read_bytes()
    else:
        content = store.read_object(ESCROW_OBJECT) if store else None
    if content is None:
        raise BackupError(
            f"token missing: snapshot unusable. {stack.name} has no seed, and there is no escrow in the object store; "
            f"set the seed: ./lyceum secrets set {stack.site.name} seed, or use --escrow FILE"
        )
    header = read_escrow(content)
    console.print(f"escrow of the seed of {header.site}, written {header.made}")
    return unseal_seed(content, passphrase.ask_passphrase(passphrase_file)), True


def _find_backup(stack: Stack, store: "ObjectStore | None", directory: Path, source: str) -> Path:
    """The file of a backup; downloads it where only the store has it."""
    if source.startswith(S3_PREFIX):
        if store is None:
            raise BackupError(f"{stack.site.name} has no object store: set platform.backup.s3 in its file")
        snapshot: StoredObject | None = find_stored_snapshot(store, source.removeprefix(S3_PREFIX))
    else:
        snapshot = find_newer_snapshot(store, directory) if source == "latest" and store else None
    if snapshot is None or store is None:
        return find_local_backup(directory, source)
    with step(f"download {snapshot.name} from {store.location()}"):
        return download_snapshot(stack, store, snapshot, directory)


def _activate_generation(stack: Stack, generation: int) -> None:
    """Makes the generation of the server token that decrypts the snapshot the current one, even if it was rotated since."""
    before = stack.generations
    if generation != before.current(TokenKind.SERVER) or before.rotating is TokenKind.SERVER:
        newest = max(generation, before.newest)
        stack.set_generations(
            before.with_generation(TokenKind.SERVER, generation).model_copy(update={"newest": newest})
        )
        console.print(
            f"[yellow]![/] generation {generation} of the server token, with which the snapshot was taken, is in use again"
        )


def _recover_state(engine: Engine, state: State, store: "ObjectStore | None", seed: str) -> State:
    """The engine's state, from the store where this machine has none; without it the engine would create every layer again."""
    if store is None or state.resources:
        return state
    content = store.read_object(STATE_OBJECT)
    if content is None:
        console.print(
            "[yellow]![/] there is no engine state in S3: resources in the snapshot will conflict with those that the engine creates"
        )
        return state
    with step("restore the engine's state from S3"):
        engine.replace_state(State.parse(unseal_state(content, seed, engine.stack.site.name)))
    return engine.export()


def servers_to_replace(entries: list[audit_log.Entry], servers: list[str], keys: dict[str, str]) -> list[str]:
    """Servers that a restore still has to replace: all, or after an interruption those with their old host key."""
    for entry in reversed(entries):
        if entry["operation"] == "restored":
            return servers
        if entry["operation"] == "restore":
            return [name for name in servers if name in keys and keys[name] == entry["host_keys"].get(name)]
    return servers


def remove_departed_nodes(kube: Kube, known: set[str]) -> None:
    """Deletes the Nodes of machines that were removed after the snapshot, which brings them back.

    Args:
        kube: The restored cluster.
        known: Names of the existing machines.
    """

    def not_ready_nodes() -> list[str]:
        unknown = [node for node in kube.items("/api/v1/nodes") if node["metadata"]["name"] not in known]
        if alive := [node["metadata"]["name"] for node in unknown if is_ready(node)]:
            raise NotReadyError(f"{', '.join(alive)} is Ready, but is not one of the stack's machines")
        return [node["metadata"]["name"] for node in unknown]

    try:
        names = retry("removed machines to become NotReady", NOT_READY_SECONDS, not_ready_nodes)
    except WaitTimeoutError as error:
        console.print(f"[yellow]![/] {error}: its Node is kept")
        return
    for name in names:
        with step(f"delete the Node {name}, removed after the snapshot"):
            delete_node(kube, name)
            osds.delete_osds(kube, name)


def _power_off(engine: Engine, machines: list[Vm]) -> None:
    """Powers off old servers: none may answer at the API address or vote in etcd beside the new ones."""
    pve = connect_proxmox(engine)
    for machine in machines:
        if not vm.is_stopped(pve, machine):
            with step(f"power off {machine.name}"):
                vm.shut_down(pve, machine)
