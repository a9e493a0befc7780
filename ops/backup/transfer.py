"""Backups in their places: taken from a server, brought here and to the object store, fetched back, looked over."""

import hashlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import LyceumError
from config.hosts import Role
from config.key_derivation import seed_fingerprint, token_hash
from config.tokens import TokenKind, derive_token
from ops import audit_log
from ops.backup.inventory import (
    SNAPSHOT_FILES_PATH,
    SnapshotEntry,
    StoredObject,
    failed_uploads,
    format_timestamp,
    local_snapshots,
    merge_entries,
    server_snapshots,
    snapshot_time,
    snapshot_warnings,
    stored_snapshots,
    surplus_snapshots,
)
from ops.backup.key_escrow import ESCROW_OBJECT, STATE_OBJECT, Escrow, EscrowError, read_escrow, seal_state
from ops.backup.metadata import (
    SUFFIX,
    BackupError,
    SnapshotMetadata,
    local_backups,
    prune_backups,
    read_metadata,
    verify_backup,
    write_metadata,
)
from ops.clients.kubernetes import Kube
from ops.clients.ssh import Remote, remotes
from ops.console import errors, step
from ops.engine.engine import Engine
from ops.engine.stack import STATE as KEPT
from ops.engine.stack import Stack
from ops.nodes.blockers import is_healthy_server

if TYPE_CHECKING:
    from ops.backup.s3 import ObjectStore

SNAPSHOT_NAME = "lyceum"
SNAPSHOT_DIRECTORY = "/var/lib/rancher/k3s/server/db/snapshots"
ACCESS_SECRETS = ("s3-access-key", "s3-secret-key")
"""Secrets that open the bucket."""
ESCROW_OPERATION = "escrow"
"""In the journal: the only trace here of an escrow that was written into a file."""


def backup_directory(stack: Stack, chosen: Path | None) -> Path:
    """Where a stack's backups are; nobody else may read them, for they hold every Secret's encrypted text."""
    path = chosen or KEPT / "backups" / stack.site.name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def open_store(stack: Stack) -> "ObjectStore | None":
    """The site's object store, if it has one.

    Raises:
        BackupError: it cannot be used.
    """
    if stack.site.platform.backup.s3 is None:
        return None
    from ops.backup.s3 import ObjectStore  # noqa: PLC0415 - boto3 takes its time, and most commands need none

    return ObjectStore.of(stack)


def snapshot_script(keep: int) -> str:
    """Takes a snapshot on a server, keeps the newest, and prints the path of the new one and its SHA-256."""
    return f"""set -euo pipefail
/usr/local/bin/k3s etcd-snapshot save --name {SNAPSHOT_NAME} >&2
/usr/local/bin/k3s etcd-snapshot prune --name {SNAPSHOT_NAME} --snapshot-retention {keep} >&2
file=$(find {SNAPSHOT_DIRECTORY} -maxdepth 1 -name '{SNAPSHOT_NAME}-*' -type f -printf '%T@ %p\\n' | sort -n | tail -1 | cut -d' ' -f2-)
sha256sum "$file"
"""


def take_backup(engine: Engine, kube: Kube, target: Path) -> Path:
    """Takes a backup from a healthy server; ends the command where none can."""
    stack = engine.stack
    nodes = {node["metadata"]["name"]: node for node in kube.items("/api/v1/nodes")}
    servers = tuple(node for node in stack.nodes if node.role is Role.SERVER)
    able = [node for node in servers if node.name in nodes and is_healthy_server(nodes[node.name])]
    if not able:
        raise LyceumError(
            "no server is Ready and a voter of etcd; ./lyceum status shows which, docs/operations/restore.md what to do"
        )
    chosen = able[0]
    remote = remotes(engine, (chosen,))[chosen.name]
    with step(f"snapshot on {chosen.name}"):
        file, digest, name = _download_from_server(
            remote, stack.site.k3s.snapshots.keep, target / _file_name(stack, time.time())
        )
    seed = stack.secret("seed")
    note = SnapshotMetadata(
        site=stack.site.name,
        stack=stack.name,
        taken=format_timestamp(time.time()),
        server=chosen.name,
        version=nodes[chosen.name]["status"]["nodeInfo"]["kubeletVersion"],
        nodes=len(nodes),
        sha256=digest,
        seed=seed_fingerprint(seed),
        token=token_hash(derive_token(seed, TokenKind.SERVER, stack.generations.current(TokenKind.SERVER))),
        snapshot=name,
    )
    write_metadata(file, note)
    verify_backup(file, seed, stack.site.name)
    prune_backups(target, stack.site.k3s.snapshots.keep)
    return file


def _file_name(stack: Stack, taken: float) -> str:
    return f"{stack.site.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(taken))}{SUFFIX}"


def _download_from_server(remote: Remote, keep: int, target: Path) -> tuple[Path, str, str]:
    digest, path = remote.run(snapshot_script(keep)).split(maxsplit=1)
    remote.fetch(f"cat {shlex.quote(path.strip())}", target)
    if hashlib.sha256(target.read_bytes()).hexdigest() != digest:
        target.unlink()
        raise BackupError(f"{remote.name}: the snapshot changed on its way here; run this again")
    return target, digest, Path(path.strip()).name


def complete_upload(engine: Engine, kube: Kube, store: "ObjectStore", file: Path) -> None:
    """Sees that K3s brought a backup to the store, adds the engine's state, and takes away what is one too many.

    Raises:
        BackupError: it is not there; K3s's own reason is in the text, because K3s calls that a success.
    """
    note, stack = read_metadata(file), engine.stack
    stored = store.list_snapshots()
    if not any(one.name == note.snapshot and one.size == file.stat().st_size for one in stored):
        said = [
            failure.reason
            for failure in failed_uploads(kube.items(SNAPSHOT_FILES_PATH))
            if failure.name == note.snapshot
        ]
        why = said[-1] if said else f"see `journalctl -u k3s` on {note.server}"
        raise BackupError(f"the backup is here, but {note.server} did not bring it to {store.location()}: {why}")
    store.write_object(STATE_OBJECT, seal_state(engine.ask("stack", "export"), stack.secret("seed"), stack.site.name))
    for name in surplus_snapshots(stored, stack.site.k3s.snapshots.keep):
        store.delete_snapshot(name)


def download_snapshot(stack: Stack, store: "ObjectStore", one: StoredObject, home: Path) -> Path:
    """Brings a snapshot of the store here, with a note of what K3s says about it.

    Raises:
        BackupError: it could not be brought.
    """
    taken = snapshot_time(one.name, one.changed)
    target = home / _file_name(stack, taken)
    said = store.snapshot_metadata(one.name)
    store.download_snapshot(one.name, target)
    note = SnapshotMetadata(
        site=stack.site.name,
        stack=stack.name,
        taken=format_timestamp(taken),
        server=said.get("node-name", ""),
        version="",
        nodes=0,
        sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
        seed="",
        token=said.get("token-hash", ""),
        snapshot=one.name,
    )
    write_metadata(target, note)
    return target


def find_stored_snapshot(store: "ObjectStore", name: str) -> StoredObject:
    """A snapshot of the store, by name or `latest`.

    Raises:
        BackupError: there is none; names what there is.
    """
    stored = _oldest_first(store)
    if name == "latest" and stored:
        return stored[-1]
    found = next((one for one in stored if one.name == name), None)
    if found is None:
        there = ", ".join(one.name for one in stored) or "none"
        raise BackupError(f"there is no snapshot `{name}` in {store.location()}; there: {there}")
    return found


def find_newer_snapshot(store: "ObjectStore", home: Path) -> StoredObject | None:
    """The newest snapshot of the store, where nothing here is as new.

    Raises:
        BackupError: the store cannot be used.
    """
    stored = _oldest_first(store)
    if not stored:
        return None
    newest = stored[-1]
    taken = snapshot_time(newest.name, newest.changed)
    local = local_snapshots({file: read_metadata(file) for file in local_backups(home)})
    return newest if all(known.name != newest.name and known.taken < taken for known in local) else None


def _oldest_first(store: "ObjectStore") -> list[StoredObject]:
    return sorted(store.list_snapshots(), key=lambda one: snapshot_time(one.name, one.changed))


@dataclass(frozen=True)
class BackupOverview:
    """What the places say.

    Attributes:
        snapshots: Each once.
        worries: What is wrong, in one line each.
        escrow: The escrow in the store, if there is one.
    """

    snapshots: list[SnapshotEntry]
    worries: list[str]
    escrow: Escrow | None


def gather_overview(stack: Stack, kube: Kube | None, home: Path) -> BackupOverview:
    """Asks this machine, the store and the cluster; a place that does not answer is a worry."""
    items = kube.items(SNAPSHOT_FILES_PATH) if kube else []
    local = local_snapshots({file: read_metadata(file) for file in local_backups(home)})
    far: Sequence[SnapshotEntry] = ()
    found: list[str] = []
    escrow = None
    try:
        store = open_store(stack)
        if store:
            far = stored_snapshots(store.list_snapshots())
            found = snapshot_warnings(
                far, failed_uploads(items), stack.site.k3s.snapshots.schedule, time.time(), stack.name
            )
            escrow = read_stored_escrow(store)
    except BackupError as error:
        found = [str(error)]
    if not (escrow or has_escrow_file(stack.name)):
        found.append(missing_escrow_warning(stack.name))
    return BackupOverview(merge_entries(server_snapshots(items), local, far), found, escrow)


def read_stored_escrow(store: "ObjectStore | None") -> Escrow | None:
    """What lies beside the snapshots.

    Raises:
        BackupError: the store cannot be used.
    """
    content = store.read_object(ESCROW_OBJECT) if store else None
    if content is None:
        return None
    try:
        return read_escrow(content)
    except EscrowError as error:
        errors.print(f"[yellow]![/] {error}")
        return None


def has_escrow_file(stack: str) -> bool:
    """Whether the seed was once put in escrow in a file."""
    return any(
        entry["operation"] == ESCROW_OPERATION and not entry["where"].startswith("s3://")
        for entry in audit_log.read_entries(stack)
    )


def missing_escrow_warning(stack: str) -> str:
    """One line with the command."""
    return f"the seed is in no escrow, and without it no snapshot opens: ./lyceum backup escrow {stack}"
