"""What the cluster says about one node, read once. Decisions are made on this, so that they can be tested without one."""

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
    """A node and what hangs on it.

    Attributes:
        name: Its name.
        nodes: All Node objects.
        pods: Pods on this node, those of DaemonSets and static ones left out.
        budgets: All PodDisruptionBudgets.
        volumes: All PersistentVolumes.
        ceph: The CephCluster, if there is one.
        pools: Ceph's pools and file systems.
        osds: Deployments of Ceph's OSDs, on all nodes.
        removal_in_progress: Whether OSDs are stopped or evicted already, only ones that leave, or a drain has moved other daemons:
            a goodbye that was interrupted goes on.
    """

    name: str
    nodes: list[Object]
    pods: list[Object] = field(default_factory=list)
    budgets: list[Object] = field(default_factory=list)
    volumes: list[Object] = field(default_factory=list)
    ceph: Object | None = None
    pools: list[Object] = field(default_factory=list)
    osds: list[Object] = field(default_factory=list)
    removal_in_progress: bool = False

    @property
    def node(self) -> Object | None:
        """The Node object, or None where it is gone."""
        return next((node for node in self.nodes if node["metadata"]["name"] == self.name), None)

    @property
    def own_osds(self) -> list[Object]:
        """Deployments of the OSDs on this node."""
        return [osd for osd in self.osds if osd_host(osd) == self.name]


def gather_facts(kube: Kube, name: str) -> NodeFacts:
    """Asks the API; kinds that are not installed count as empty."""
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
        budgets=kube.items("/apis/policy/v1/poddisruptionbudgets"),
        volumes=kube.items("/api/v1/persistentvolumes"),
        ceph=clusters[0] if clusters else None,
        pools=pools,
        osds=kube.items(f"/apis/apps/v1/namespaces/{ROOK_NAMESPACE}/deployments", labelSelector="app=rook-ceph-osd"),
    )


def evictable_pods(pods: Iterable[Object]) -> list[Object]:
    """Pods that a drain has to deal with: not a DaemonSet's, not static, not finished."""
    return [
        pod
        for pod in pods
        if controller_kind(pod) != "DaemonSet"
        and MIRROR_ANNOTATION not in (pod["metadata"].get("annotations") or {})
        and pod.get("status", {}).get("phase") not in FINISHED_PHASES
    ]


def controller_kind(item: Object) -> str:
    """Kind of what made an object: `ReplicaSet`; empty for nothing."""
    return next((str(owner["kind"]) for owner in owner_references(item) if owner.get("controller")), "")


def owner_references(item: Object) -> list[dict[str, Any]]:
    """Owner references."""
    return item["metadata"].get("ownerReferences") or []


def namespaced_name(item: Object) -> str:
    """`namespace/name`."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def has_condition(item: Object, kind: str) -> bool:
    """Whether a condition is True."""
    conditions = item.get("status", {}).get("conditions") or []
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def is_ready(node: Object) -> bool:
    """Whether the kubelet reports."""
    return has_condition(node, "Ready")


def is_server(node: Object) -> bool:
    """Whether the node runs etcd."""
    labels = node["metadata"].get("labels") or {}
    return any(label in labels for label in SERVER_LABELS)


def osd_host(osd: Object) -> str:
    """Host name of an OSD's Deployment; Rook pins each to its node."""
    selector = osd["spec"]["template"]["spec"].get("nodeSelector") or {}
    return str(selector.get(HOSTNAME_LABEL, ""))


def is_deployment_ready(deployment: Object) -> bool:
    """Whether a Deployment of one pod is wanted and Ready; a pod that was evicted from the only node it may use is not."""
    return bool(deployment["spec"].get("replicas", 1) and deployment.get("status", {}).get("readyReplicas"))


def ceph_health_checks(picture: NodeFacts) -> dict[str, Object]:
    """What Ceph warns of, by its names for it: `OSD_DOWN`."""
    return (picture.ceph or {}).get("status", {}).get("ceph", {}).get("details") or {}


def osd_id(osd: Object) -> str:
    """Ceph's number of an OSD, which is the end of its Deployment's name."""
    return str(osd["metadata"]["name"]).rpartition("-")[2]
