"""What a K3s server does to Node objects: roles and etcd marks on its own, clean-up of those that are deleted."""

import asyncio
from typing import Any

from lab.k3s import log
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.passwords import secret_path
from lab.kubernetes import KubeClient, KubernetesError

NODE_FINALIZER = "wrangler.cattle.io/node"
ETCD_FINALIZER = "wrangler.cattle.io/managed-etcd-controller"
MEMBER_NAME = "etcd.k3s.cattle.io/node-name"
MEMBER_ADDRESS = "etcd.k3s.cattle.io/node-address"
REMOVE = "etcd.k3s.cattle.io/remove"
REMOVED = "etcd.k3s.cattle.io/removed-node-name"

_INTERVAL = 2.0


async def mark_server(kube: KubeClient, node_name: str, member: str, address: str, encryption: str) -> None:
    """Give this server's Node its roles, etcd annotations and the EtcdIsVoter condition.

    Since v1.35 K3s sets the roles `control-plane` and `etcd`, and `master` no more.
    """
    path = f"/api/v1/nodes/{node_name}"
    annotations: dict[str, str | None] = {MEMBER_NAME: member, MEMBER_ADDRESS: address, REMOVE: None, REMOVED: None}
    if encryption:
        annotations["k3s.io/encryption-config-hash"] = encryption
    labels = {"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true"}
    finalizers = [NODE_FINALIZER, ETCD_FINALIZER]
    await kube.patch(path, {"metadata": {"labels": labels, "annotations": annotations, "finalizers": finalizers}})
    condition = {
        "type": "EtcdIsVoter",
        "status": "True",
        "reason": "MemberNotLearner",
        "message": "Node is a voting member of the etcd cluster",
    }
    await kube.patch(f"{path}/status", {"status": {"conditions": [condition]}})


async def remove_deleted_nodes(kube: KubeClient, etcd: Etcd) -> None:
    """Follow Nodes that are being deleted or are marked for removal, on the server whose etcd leads.

    A deleted server leaves the etcd cluster; any deleted node frees its name by losing its password.
    """
    while True:
        await asyncio.sleep(_INTERVAL)
        try:
            status = await etcd.status()
            if status.get("leader") != status.get("header", {}).get("member_id"):
                continue
            listed = (await kube.call("GET", "/api/v1/nodes")).get("items", [])
        except (KubernetesError, EtcdError) as error:
            log.warning(f"Failed to check nodes for removal: {error}")
            continue
        for node in listed:
            try:
                await _process_removal(kube, etcd, node)
            except (KubernetesError, EtcdError) as error:
                # etcd refuses while its quorum would suffer; the node waits with its finalizer.
                log.warning(f"Failed to remove node {node['metadata']['name']}: {error}")


async def _process_removal(kube: KubeClient, etcd: Etcd, node: dict[str, Any]) -> None:
    metadata = node["metadata"]
    name, annotations = metadata["name"], metadata.get("annotations", {})
    finalizers: list[str] = metadata.get("finalizers", [])
    if metadata.get("deletionTimestamp"):
        if ETCD_FINALIZER in finalizers:
            await _remove_member(etcd, annotations.get(MEMBER_NAME, ""))
        if {NODE_FINALIZER, ETCD_FINALIZER} & set(finalizers):
            await kube.delete(secret_path(name))
            kept = [finalizer for finalizer in finalizers if finalizer not in {NODE_FINALIZER, ETCD_FINALIZER}]
            await kube.patch(f"/api/v1/nodes/{name}", {"metadata": {"finalizers": kept}}, "merge-patch")
            log.info(f"Removed node password of deleted node {name}")
    elif NODE_FINALIZER not in finalizers:
        wanted = {"metadata": {"finalizers": [*finalizers, NODE_FINALIZER]}}
        await kube.patch(f"/api/v1/nodes/{name}", wanted, "merge-patch")
    elif annotations.get(REMOVE) == "true" and annotations.get(REMOVED) != annotations.get(MEMBER_NAME):
        await _remove_member(etcd, annotations[MEMBER_NAME])
        removed = {"metadata": {"annotations": {REMOVED: annotations[MEMBER_NAME]}}}
        await kube.patch(f"/api/v1/nodes/{name}", removed, "merge-patch")


async def _remove_member(etcd: Etcd, member_name: str) -> None:
    for member in await etcd.members():
        if member.name and member.name == member_name:
            log.info(f"Removing name={member_name} id={member.id} from etcd")
            await etcd.remove(member.id)
