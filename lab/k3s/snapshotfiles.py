"""ETCDSnapshotFile objects: where the cluster says which snapshots lie where, and which upload failed, and why.

As in K3s (docs.k3s.io/cli/etcd-snapshot): one object a snapshot and place, brought in line after each operation; a failure
is kept for a day. What lies in S3 is looked up after an operation only, not at a server's start.
"""

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab.k3s.manifests import build_crd
from lab.kubernetes import KubeClient, KubernetesError

S3_NODE = "s3"
"""Stands for a node's name where a snapshot lies in S3."""
_PATH = "/apis/k3s.cattle.io/v1/etcdsnapshotfiles"
_NODE_LABEL = "etcd.k3s.cattle.io/snapshot-storage-node"
_TOKEN_ANNOTATION = "etcd.k3s.cattle.io/snapshot-token-hash"  # noqa: S105  # a name
_ERROR_KEPT = dt.timedelta(hours=24)

CRD = build_crd(
    "ETCDSnapshotFile",
    "etcdsnapshotfiles",
    "Cluster",
    {
        "SnapshotName": ".spec.snapshotName",
        "Node": ".spec.nodeName",
        "Location": ".spec.location",
        "Size": ".status.size",
    },
)


@dataclass(frozen=True)
class SnapshotRecord:
    """A snapshot at a place, or the failure to bring it there."""

    name: str
    node: str
    """The server that has it, or `s3`."""
    location: str
    size: int
    created: dt.datetime
    token_hash: str = ""
    error: str = ""

    @property
    def object_name(self) -> str:
        """Name of its object."""
        place = "s3" if self.node == S3_NODE else "local"
        return f"{place}-{self.name.lower()}-{hashlib.sha256(f'{self.node}/{self.name}'.encode()).hexdigest()[:6]}"

    def as_object(self) -> dict[str, Any]:
        """As K3s writes it."""
        created = f"{self.created:%Y-%m-%dT%H:%M:%SZ}"
        status: dict[str, Any] = {"creationTime": created, "readyToUse": not self.error, "size": str(self.size)}
        if self.error:
            status["error"] = {"time": created, "message": self.error}
        return {
            "apiVersion": "k3s.cattle.io/v1",
            "kind": "ETCDSnapshotFile",
            "metadata": {
                "name": self.object_name,
                "labels": {_NODE_LABEL: self.node},
                "annotations": {_TOKEN_ANNOTATION: self.token_hash} if self.token_hash else {},
            },
            "spec": {"snapshotName": self.name, "nodeName": self.node, "location": self.location}
            | ({"s3": {}} if self.node == S3_NODE else {}),
            "status": status,
        }


async def sync_objects(kube: KubeClient, places: set[str], found: Iterable[SnapshotRecord]) -> None:
    """Create, update and delete the objects to match the snapshots and new failures that were found.

    Places are the nodes (and `s3`) that were looked at; objects of other servers stay.
    """
    wanted = {entry.object_name: entry for entry in found}
    known = {item["metadata"]["name"]: item for item in (await kube.call("GET", _PATH)).get("items", [])}
    nodes = (await kube.call("GET", "/api/v1/nodes", query={"labelSelector": "node-role.kubernetes.io/etcd=true"})).get(
        "items", []
    )
    servers = {node["metadata"]["name"] for node in nodes} | places | {S3_NODE}
    for name, item in known.items():
        place = item["spec"]["nodeName"]
        if (place in places and name not in wanted and not _fresh_failure(item)) or place not in servers:
            await kube.delete(f"{_PATH}/{name}")
    for name, entry in wanted.items():
        if name not in known or bool(entry.error) or known[name]["status"].get("error"):
            with contextlib.suppress(KubernetesError):  # another server says the same at the same time
                await kube.apply(entry.as_object(), "k3s")


def _fresh_failure(item: dict[str, Any]) -> bool:
    error = item.get("status", {}).get("error")
    if not error:
        return False
    return dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(error["time"]) < _ERROR_KEPT
