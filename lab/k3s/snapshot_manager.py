"""A server's snapshots on its disk and in S3: saved, listed, pruned and deleted in both at once, as K3s does.

What fails in S3 does not fail the snapshot: it is logged, and noted in the ETCDSnapshotFile.
"""

import asyncio
import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

from lab.k3s import log, s3, snapshots, tokens
from lab.k3s.config import Options
from lab.k3s.etcd import Etcd
from lab.k3s.paths import Paths
from lab.k3s.snapshotfiles import S3_NODE, SnapshotRecord, sync_objects
from lab.kubernetes import KubeClient, KubernetesError


@dataclass
class SnapshotManager:
    """The snapshots of one server."""

    options: Options
    paths: Paths
    node: str
    kube: KubeClient

    @property
    def folder(self) -> Path:
        """Where they lie on disk."""
        return snapshots.snapshot_directory(self.paths, self.options)

    def _token_hash(self) -> str:
        password = tokens.parse_token((self.paths.server / "token").read_text().strip()).password
        return hashlib.sha256(password.encode()).hexdigest()[:12]

    async def _bucket(self) -> s3.Bucket | None:
        """The bucket; None without S3, or while its Secret cannot be read."""
        if not self.options.on("etcd-s3"):
            return None
        try:
            return await s3.open_bucket(self.options, self.kube)
        except s3.NoSecretError as error:
            log.warning(f"Unable to initialize S3 client: {error}")
            return None

    async def save(self, etcd: Etcd, base: str) -> list[str]:
        """Take a snapshot, upload it to S3 if that is set; returns its name, once for each place."""
        file = await snapshots.save_snapshot(etcd, self.folder, base, self.node)
        log.info(f"Saved etcd snapshot to {file}")
        saved, failed = [file.name], []
        try:
            bucket = await self._bucket()
            if bucket:
                await asyncio.to_thread(bucket.upload, file, await self._metadata())
                log.info(f"S3 upload complete for {file.name}")
                saved.append(file.name)
        except s3.S3Error as error:
            log.error(f"Error received during snapshot upload to S3: {error}")
            failed = [SnapshotRecord(file.name, S3_NODE, "", 0, dt.datetime.now(dt.UTC), error=str(error))]
        await self.sync(failed)
        return saved

    async def _metadata(self) -> dict[str, str]:
        system = await self.kube.call("GET", "/api/v1/namespaces/kube-system")
        return {"cluster-id": system["metadata"]["uid"], "node-name": self.node, "token-hash": self._token_hash()}

    async def prune(self, base: str, retention: int) -> list[str]:
        """Delete all but the newest on disk, and in S3 as its own retention says."""
        removed = [file.name for file in snapshots.prune_snapshots(self.folder, base, self.node, retention)]
        try:
            bucket = await self._bucket()
            removed += await asyncio.to_thread(bucket.prune, base) if bucket else []
        except s3.S3Error as error:
            log.error(f"Error applying S3 snapshot retention policy: {error}")
        await self.sync()
        return removed

    def on_disk(self) -> list[SnapshotRecord]:
        """Snapshots on this server's disk."""
        return [
            SnapshotRecord(found.name, self.node, f"file://{found.path}", found.size, found.created)
            for found in snapshots.list_snapshots(self.folder)
        ]

    async def list_all(self) -> list[SnapshotRecord]:
        """Snapshots in S3 and on this server's disk."""
        bucket = await self._bucket()
        return [*(await asyncio.to_thread(_list_bucket, bucket) if bucket else []), *self.on_disk()]

    async def sync(self, failed: list[SnapshotRecord] | None = None) -> None:
        """Bring the ETCDSnapshotFile objects in line with what there is."""
        places, found = {self.node}, [*self.on_disk(), *(failed or [])]
        try:
            bucket = await self._bucket()
            if bucket:
                places.add(S3_NODE)
                found += await asyncio.to_thread(_list_bucket, bucket)
        except s3.S3Error as error:
            log.warning(f"Unable to initialize S3 client: {error}")
        await self.sync_places(places, found)

    async def sync_places(self, places: set[str], found: list[SnapshotRecord]) -> None:
        """The same for places that were looked at already."""
        try:
            await sync_objects(self.kube, places, found)
        except KubernetesError as error:
            log.warning(f"Failed to sync ETCDSnapshotFile: {error}")


def _list_bucket(bucket: s3.Bucket) -> list[SnapshotRecord]:
    return [
        SnapshotRecord(
            stored.name,
            S3_NODE,
            stored.location,
            stored.size,
            dt.datetime.fromtimestamp(stored.changed, dt.UTC),
            stored.token_hash,
        )
        for stored in bucket.list_snapshots()
    ]
