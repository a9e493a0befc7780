"""What the Kubernetes API knows about one node, read once. Decisions are pure functions of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ops.clients.kubernetes import Kube, Object

ROOK_NAMESPACE = "rook-ceph"
HOSTNAME_LABEL = "kubernetes.io/hostname"
SERVER_LABELS = ("node-role.kubernetes.io/etcd", "node-role.kubernetes.io/control-plane")
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
FINISHED_PHASES = {"Succeeded", "Failed"}


@dataclass(frozen=True)
class NodeFacts:
    """A node and what depends on it.

    Attributes:
        name: Its name.
        nodes: All Node objects.
        pods: Pods on this node that a drain evicts.
        volumes: All PersistentVolumes.
        ceph: The CephCluster, or None.
        pools: CephBlockPools and CephFilesystems.
        osds: Deployments of the OSDs on all nodes.
        removal_in_progress: Whether an earlier removal of this node was interrupted: its OSDs are stopped or evicted, or its
            drain has moved other Ceph daemons.
    """

    name: str
    nodes: list[Object]
    pods: list[Object] = field(default_factory=list)
    volumes: list[Object] = field(default_factory=list)
    ceph: Object | None = None
    pools: list[Object] = field(default_factory=list)
    osds: list[Object] = field(default_factory=list)
    removal_in_progress: bool = False

    @property
    def node(self) -> Object | None:
        """The Node object, or None if it does not exist."""
        return next((node for node in self.nodes if node["metadata"]["name"] == self.name), None)

    @property
    def own_osds(self) -> list[Object]:
        """Deployments of the OSDs on this node."""
        return [osd for osd in self.osds if osd_host(osd) == self.name]


def gather_facts(kube: Kube, name: str) -> NodeFacts:
    """Reads the API; a kind that is not installed counts as an empty list."""
    clusters = kube.items(f"/apis/ceph.rook.io/v1/namespaces/{ROOK_NAMESPACE}/cephclusters")
    pools = [
        item
        for kind in ("cephblockpools", "cephfilesystems")
        for item in kube.items(f"/apis/ceph.rook.io/v1/namespaces/{ROOK_NAMESPACE}/{kind}")
    ]
    return NodeFacts(
        name=name,
        nodes=kube.items("/api/v1/nodes"),
        pods=evictable_pods(kube.items("/api/v1/pods", fieldSelector=f"spec.nodeName={name}")),
        volumes=kube.items("/api/v1/persistentvolumes"),
        ceph=clusters[0] if clusters else None,
        pools=pools,
        osds=kube.items(f"/apis/apps/v1/namespaces/{ROOK_NAMESPACE}/deployments", labelSelector="app=rook-ceph-osd"),
    )


def evictable_pods(pods: Iterable[Object]) -> list[Object]:
    """Pods that a drain evicts: neither of a DaemonSet, nor static, nor finished."""
    return [
        pod
        for pod in pods
        if controller_kind(pod) != "DaemonSet"
        and MIRROR_ANNOTATION not in (pod["metadata"].get("annotations") or {})
        and pod.get("status", {}).get("phase") not in FINISHED_PHASES
    ]


def controller_kind(item: Object) -> str:
    """Kind of the controller that owns an object, as `ReplicaSet`; empty if none does."""
    return next((str(owner["kind"]) for owner in owner_references(item) if owner.get("controller")), "")


def owner_references(item: Object) -> list[dict[str, Any]]:
    """The owner references of an object."""
    return item["metadata"].get("ownerReferences") or []


def namespaced_name(item: Object) -> str:
    """`namespace/name`."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def has_condition(item: Object, kind: str) -> bool:
    """Whether a condition has the status True."""
    conditions = item.get("status", {}).get("conditions") or []
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def is_ready(node: Object) -> bool:
    """Whether the node is Ready."""
    return has_condition(node, "Ready")


def is_server(node: Object) -> bool:
    """Whether the node runs etcd."""
    labels = node["metadata"].get("labels") or {}
    return any(label in labels for label in SERVER_LABELS)


def osd_host(osd: Object) -> str:
    """Name of the node to which Rook pins an OSD's Deployment; empty if it is pinned to none."""
    selector = osd["spec"]["template"]["spec"].get("nodeSelector") or {}
    return str(selector.get(HOSTNAME_LABEL, ""))


def is_deployment_ready(deployment: Object) -> bool:
    """Whether a Deployment is scaled up and has a Ready pod; an evicted pod that is pinned to its node is not Ready."""
    return bool(deployment["spec"].get("replicas", 1) and deployment.get("status", {}).get("readyReplicas"))


def ceph_health_checks(facts: NodeFacts) -> dict[str, Object]:
    """Ceph's active health checks by code, such as `OSD_DOWN`."""
    return (facts.ceph or {}).get("status", {}).get("ceph", {}).get("details") or {}


def osd_id(osd: Object) -> str:
    """Ceph's ID of an OSD: the end of its Deployment's name."""
    return str(osd["metadata"]["name"]).rpartition("-")[2]
