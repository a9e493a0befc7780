"""Moves backups between servers, this machine and the object store, and lists what each of them has."""

import hashlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from ops.engine.stack import STATE as STATE_DIRECTORY
from ops.engine.stack import Stack
from ops.nodes.blockers import is_healthy_server

if TYPE_CHECKING:
    from ops.backup.s3 import ObjectStore

SNAPSHOT_NAME = "lyceum"
SNAPSHOT_DIRECTORY = "/var/lib/rancher/k3s/server/db/snapshots"
ACCESS_SECRETS = ("s3-access-key", "s3-secret-key")
"""Secrets with the keys of the bucket."""
ESCROW_OPERATION = "escrow"
"""Operation in the audit log: the only record of an escrow that was written to a file."""


def backup_directory(stack: Stack, chosen: Path | None) -> Path:
    """Directory of a stack's backups, created with mode 0700: snapshots hold every Secret of the cluster, encrypted."""
    path = chosen or STATE_DIRECTORY / "backups" / stack.site.name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def open_store(stack: Stack) -> "ObjectStore | None":
    """The site's object store, if it has one.

    Raises:
        BackupError: it cannot be used, for example because its CA file is missing.
    """
    if stack.site.platform.backup.s3 is None:
        return None
    from ops.backup.s3 import ObjectStore  # noqa: PLC0415 - importing boto3 is slow, and most commands do not need it

    return ObjectStore.of(stack)


def snapshot_script(keep: int) -> str:
    """Script for a server: takes a snapshot, prunes old ones, and prints SHA-256 and path of the new one."""
    return f"""set -euo pipefail
/usr/local/bin/k3s etcd-snapshot save --name {SNAPSHOT_NAME} >&2
/usr/local/bin/k3s etcd-snapshot prune --name {SNAPSHOT_NAME} --snapshot-retention {keep} >&2
file=$(find {SNAPSHOT_DIRECTORY} -maxdepth 1 -name '{SNAPSHOT_NAME}-*' -type f -printf '%T@ %p\\n' | sort -n | tail -1 | cut -d' ' -f2-)
sha256sum "$file"
"""


def take_backup(engine: Engine, kube: Kube, target: Path) -> Path:
    """Takes a snapshot on a healthy server and downloads it as a verified backup into `target`.

    Raises:
        LyceumError: no server is healthy, or the snapshot or its download failed.
    """
    stack = engine.stack
    nodes = {node["metadata"]["name"]: node for node in kube.items("/api/v1/nodes")}
    servers = tuple(node for node in stack.nodes if node.role is Role.SERVER)
    healthy = [node for node in servers if node.name in nodes and is_healthy_server(nodes[node.name])]
    if not healthy:
        raise LyceumError("no server is Ready and an etcd voter; see ./lyceum status, then docs/operations/restore.md")
    server = healthy[0]
    remote = remotes(engine, (server,))[server.name]
    with step(f"take a snapshot on {server.name}"):
        file, digest, name = _download_from_server(
            remote, stack.site.k3s.snapshots.keep, target / _file_name(stack, time.time())
        )
    seed = stack.secret("seed")
    metadata = SnapshotMetadata(
        site=stack.site.name,
        stack=stack.name,
        taken=format_timestamp(time.time()),
        server=server.name,
        version=nodes[server.name]["status"]["nodeInfo"]["kubeletVersion"],
        nodes=len(nodes),
        sha256=digest,
        seed=seed_fingerprint(seed),
        token=token_hash(derive_token(seed, TokenKind.SERVER, stack.generations.current(TokenKind.SERVER))),
        snapshot=name,
    )
    write_metadata(file, metadata)
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
        raise BackupError(f"{remote.name}: the download of the snapshot is corrupt; run this again")
    return target, digest, Path(path.strip()).name


def complete_upload(engine: Engine, kube: Kube, store: "ObjectStore", file: Path) -> None:
    """Checks that K3s uploaded a backup to the store, uploads the engine's state, and deletes surplus snapshots.

    K3s uploads a snapshot itself when it takes it, and reports success even if the upload failed.

    Raises:
        BackupError: the snapshot is not in the store; the text holds K3s's reason.
    """
    metadata, stack = read_metadata(file), engine.stack
    stored = store.list_snapshots()
    if not any(snapshot.name == metadata.snapshot and snapshot.size == file.stat().st_size for snapshot in stored):
        reasons = [
            failure.reason
            for failure in failed_uploads(kube.items(SNAPSHOT_FILES_PATH))
            if failure.name == metadata.snapshot
        ]
        reason = reasons[-1] if reasons else f"see `journalctl -u k3s` on {metadata.server}"
        raise BackupError(
            f"the backup is on this machine, but {metadata.server} did not upload it to {store.location()}: {reason}"
        )
    store.write_object(STATE_OBJECT, seal_state(engine.query("stack", "export"), stack.secret("seed"), stack.site.name))
    for name in surplus_snapshots(stored, stack.site.k3s.snapshots.keep):
        store.delete_snapshot(name)


def download_snapshot(stack: Stack, store: "ObjectStore", snapshot: StoredObject, directory: Path) -> Path:
    """Downloads a snapshot from the store, and writes its metadata file from K3s's metadata.

    Raises:
        BackupError: the download failed.
    """
    taken = snapshot_time(snapshot.name, snapshot.changed)
    target = directory / _file_name(stack, taken)
    k3s_metadata = store.snapshot_metadata(snapshot.name)
    store.download_snapshot(snapshot.name, target)
    metadata = SnapshotMetadata(
        site=stack.site.name,
        stack=stack.name,
        taken=format_timestamp(taken),
        server=k3s_metadata.get("node-name", ""),
        version="",
        nodes=0,
        sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
        seed="",
        token=k3s_metadata.get("token-hash", ""),
        snapshot=snapshot.name,
    )
    write_metadata(target, metadata)
    return target


def find_stored_snapshot(store: "ObjectStore", name: str) -> StoredObject:
    """A snapshot in the store, by name or `latest`.

    Raises:
        BackupError: there is none; the text lists the snapshots in the store.
    """
    stored = _oldest_first(store)
    if name == "latest" and stored:
        return stored[-1]
    found = next((snapshot for snapshot in stored if snapshot.name == name), None)
    if found is None:
        available = ", ".join(snapshot.name for snapshot in stored) or "none"
        raise BackupError(f"there is no snapshot `{name}` in {store.location()}; available: {available}")
    return found


def find_newer_snapshot(store: "ObjectStore", directory: Path) -> StoredObject | None:
    """The newest snapshot in the store, if every local backup in the directory is older; else None.

    Raises:
        BackupError: the store cannot be used.
    """
    stored = _oldest_first(store)
    if not stored:
        return None
    newest = stored[-1]
    taken = snapshot_time(newest.name, newest.changed)
    local = local_snapshots({file: read_metadata(file) for file in local_backups(directory)})
    return newest if all(known.name != newest.name and known.taken < taken for known in local) else None


def _oldest_first(store: "ObjectStore") -> list[StoredObject]:
    return sorted(store.list_snapshots(), key=lambda snapshot: snapshot_time(snapshot.name, snapshot.changed))


@dataclass(frozen=True)
class BackupOverview:
    """Snapshots and escrow in all places.

    Attributes:
        snapshots: Every snapshot once, oldest first.
        warnings: One line each.
        escrow: The escrow in the store; None if there is none.
    """

    snapshots: list[SnapshotEntry]
    warnings: list[str]
    escrow: Escrow | None

    def as_json(self) -> dict[str, Any]:
        """The form that `backup list --json` prints."""
        return {
            "snapshots": [asdict(snapshot) for snapshot in self.snapshots],
            "worries": self.warnings,
            "escrow": asdict(self.escrow) if self.escrow else None,
        }


def gather_overview(stack: Stack, kube: Kube | None, directory: Path) -> BackupOverview:
    """Lists the snapshots of this machine, the store and the cluster; a place that does not answer gives a warning."""
    items = kube.items(SNAPSHOT_FILES_PATH) if kube else []
    local = local_snapshots({file: read_metadata(file) for file in local_backups(directory)})
    stored: Sequence[SnapshotEntry] = ()
    warnings: list[str] = []
    escrow = None
    try:
        store = open_store(stack)
        if store:
            stored = stored_snapshots(store.list_snapshots())
            warnings = snapshot_warnings(
                stored, failed_uploads(items), stack.site.k3s.snapshots.schedule, time.time(), stack.name
            )
            escrow = read_stored_escrow(store)
    except BackupError as error:
        warnings = [str(error)]
    if not (escrow or has_escrow_file(stack.name)):
        warnings.append(missing_escrow_warning(stack.name))
    return BackupOverview(merge_entries(server_snapshots(items), local, stored), warnings, escrow)


def read_stored_escrow(store: "ObjectStore | None") -> Escrow | None:
    """The readable part of the escrow in the store; None if there is none or it is not valid.

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
    """Whether the audit log records an escrow that was written to a file."""
    return any(
        entry["operation"] == ESCROW_OPERATION and not entry["where"].startswith("s3://")
        for entry in audit_log.read_entries(stack)
    )


def missing_escrow_warning(stack: str) -> str:
    """Warning for a stack without an escrow, with the command that writes one."""
    return f"there is no escrow of the seed, without which no snapshot can be restored: ./lyceum backup escrow {stack}"
