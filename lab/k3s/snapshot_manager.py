"""A server's snapshots wherever they lie: taken, listed, pruned and deleted on its disk and in S3, as K3s does at once.

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
from lab.k3s.snapshotfiles import S3_NODE, Entry, bring_in_line
from lab.kubernetes import KubeClient, KubernetesError

__all__ = ["Keeper"]


@dataclass
class Keeper:
    """The snapshots of one server."""

    options: Options
    paths: Paths
    node: str
    kube: KubeClient

    @property
    def folder(self) -> Path:
        """Where they lie on disk."""
        return snapshots.directory(self.paths, self.options)

    def _token_hash(self) -> str:
        password = tokens.parse((self.paths.server / "token").read_text().strip()).password
        return hashlib.sha256(password.encode()).hexdigest()[:12]

    async def _bucket(self) -> s3.Bucket | None:
        """The bucket; None without S3, or while its Secret cannot be read."""
        if not self.options.on("etcd-s3"):
            return None
        try:
            return await s3.connect(self.options, self.kube)
        except s3.NoSecretError as error:
            log.warning(f"Unable to initialize S3 client: {error}")
            return None

    async def save(self, etcd: Etcd, base: str) -> list[str]:
        """Take a snapshot, bring it to S3 if that is set; returns its name, once for each place."""
        compress = self.options.on("snapshot-compress") or self.options.on("etcd-snapshot-compress")
        file = await snapshots.save(etcd, self.folder, base, self.node, compress=compress)
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
            failed = [Entry(file.name, S3_NODE, "", 0, dt.datetime.now(dt.UTC), error=str(error))]
        await self.tell(failed)
        return saved

    async def _metadata(self) -> dict[str, str]:
        system = await self.kube.call("GET", "/api/v1/namespaces/kube-system")
        return {
            "cluster-id": system["metadata"]["uid"],
            "node-name": self.node,
            "token-hash": self._token_hash(),
        }

    async def prune(self, base: str, retention: int) -> list[str]:
        """Delete all but the newest on disk, and in S3 as its own retention says."""
        removed = [file.name for file in snapshots.prune(self.folder, base, self.node, retention)]
        try:
            bucket = await self._bucket()
            removed += await asyncio.to_thread(bucket.prune, base) if bucket else []
        except s3.S3Error as error:
            log.error(f"Error applying S3 snapshot retention policy: {error}")
        await self.tell()
        return removed

    async def delete(self, names: list[str]) -> list[str]:
        """Delete snapshots wherever they are; raises `SnapshotError` for one that is nowhere."""
        on_disk = {snapshot.name: snapshot for snapshot in snapshots.listed(self.folder)}
        bucket = await self._bucket()
        for name in names:
            in_s3 = bucket is not None and await asyncio.to_thread(bucket.delete, name)
            if name in on_disk:
                on_disk[name].path.unlink()
            elif not in_s3:
                raise snapshots.SnapshotError(f"snapshot not found: {name}")
        await self.tell()
        return names

    def on_disk(self) -> list[Entry]:
        """Snapshots on this server's disk."""
        return [
            Entry(found.name, self.node, f"file://{found.path}", found.size, found.created)
            for found in snapshots.listed(self.folder)
        ]

    async def listed(self) -> list[Entry]:
        """Snapshots in S3 and on this server's disk."""
        bucket = await self._bucket()
        return [*(await asyncio.to_thread(_in_bucket, bucket) if bucket else []), *self.on_disk()]

    async def tell(self, failed: list[Entry] | None = None) -> None:
        """Bring the ETCDSnapshotFile objects in line with what there is."""
        places, found = {self.node}, [*self.on_disk(), *(failed or [])]
        try:
            bucket = await self._bucket()
            if bucket:
                places.add(S3_NODE)
                found += await asyncio.to_thread(_in_bucket, bucket)
        except s3.S3Error as error:
            log.warning(f"Unable to initialize S3 client: {error}")
        await self.tell_of(places, found)

    async def tell_of(self, places: set[str], found: list[Entry]) -> None:
        """The same for places that were looked at already."""
        try:
            await bring_in_line(self.kube, places, found)
        except KubernetesError as error:
            log.warning(f"Failed to sync ETCDSnapshotFile: {error}")


def _in_bucket(bucket: s3.Bucket) -> list[Entry]:
    return [
        Entry(
            stored.name,
            S3_NODE,
            stored.location,
            stored.size,
            dt.datetime.fromtimestamp(stored.changed, dt.UTC),
            stored.token_hash,
        )
        for stored in bucket.listed()
    ]
