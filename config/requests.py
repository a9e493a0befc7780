"""What the platform's own pods ask for on the nodes, by chart. Pure.

Amounts are the requests of the pinned charts; a test holds them against the charts' facts. What requests nothing is not listed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from config.allocatable import Amount
from config.hosts import Node, Role
from config.layers import installed_releases
from config.site import Site


@dataclass(frozen=True, slots=True)
class Daemon:
    """A DaemonSet of a chart, with one pod on each node.

    Attributes:
        chart: The chart.
        name: Name of the DaemonSet.
        request: What each pod asks for.
        everywhere: Whether it tolerates every taint.
    """

    chart: str
    name: str
    request: Amount
    everywhere: bool


@dataclass(frozen=True, slots=True)
class Deployed:
    """A Deployment or StatefulSet of a chart, whose pods stand on some node.

    Attributes:
        chart: The chart.
        name: Its name.
        request: What each pod asks for.
        replicas: Number of pods.
    """

    chart: str
    name: str
    request: Amount
    replicas: int = 1


DAEMONS: tuple[Daemon, ...] = (
    Daemon("gpu-operator", "gpu-operator-node-feature-discovery-worker", Amount(5, 64), everywhere=True),
    Daemon("csi-driver-nfs", "csi-nfs-node", Amount(30, 60), everywhere=True),
    Daemon("ingress-nginx", "ingress-nginx-controller", Amount(100, 90), everywhere=False),
)

K3S = "k3s"
"""In place of a chart: what K3s installs into kube-system (k3s-io/k3s, manifests)."""
PIPELINES = "kubeflow-pipelines"

DEPLOYED: tuple[Deployed, ...] = (
    Deployed(K3S, "coredns", Amount(100, 70)),
    Deployed(K3S, "metrics-server", Amount(100, 70)),
    Deployed("kueue", "kueue-controller-manager", Amount(500, 512), replicas=2),
    Deployed("kubeflow-trainer", "jobset-controller", Amount(500, 128)),
    Deployed("gpu-operator", "gpu-operator", Amount(200, 100)),
    Deployed("gpu-operator", "gpu-operator-node-feature-discovery-master", Amount(100, 128)),
    Deployed("gpu-operator", "gpu-operator-node-feature-discovery-gc", Amount(10, 128)),
    Deployed("kserve-resources", "kserve-controller-manager", Amount(200, 600)),
    Deployed("csi-driver-nfs", "csi-nfs-controller", Amount(50, 100)),
    Deployed("rook-ceph", "rook-ceph-operator", Amount(200, 128)),
    Deployed("rook-ceph", "ceph-csi-controller-manager", Amount(10, 64)),
    Deployed("rook-ceph-cluster", "rook-ceph-tools", Amount(100, 128)),
    Deployed(PIPELINES, "ml-pipeline", Amount(250, 500)),
    Deployed(PIPELINES, "ml-pipeline-persistenceagent", Amount(120, 500)),
    Deployed(PIPELINES, "ml-pipeline-ui", Amount(10, 70)),
    Deployed(PIPELINES, "ml-pipeline-visualizationserver", Amount(30, 500)),
    Deployed(PIPELINES, "ml-pipeline-scheduledworkflow", Amount(10, 16)),
    Deployed(PIPELINES, "metadata-grpc-deployment", Amount(10, 16)),
    Deployed(PIPELINES, "metadata-writer", Amount(10, 16)),
    Deployed(PIPELINES, "mysql", Amount(100, 800)),
    Deployed(PIPELINES, "seaweedfs", Amount(64, 256)),
    Deployed(PIPELINES, "workflow-controller", Amount(100, 500)),
)

CEPH: dict[str, Amount] = {
    "mon": Amount(1000, 1024),
    "mgr": Amount(500, 512),
    "mgr-sidecar": Amount(100, 40),
    "osd": Amount(1000, 4096),
    "crashcollector": Amount(100, 60),
    "logcollector": Amount(100, 100),
    "exporter": Amount(50, 50),
}
"""Containers of Ceph's daemons: the requests of the chart rook-ceph-cluster (`cephClusterSpec.resources`)."""
MANAGERS = 2
"""Ceph managers: one active, one standby."""
_CEPH_NODE = CEPH["crashcollector"] + CEPH["exporter"]
"""What Rook adds to each node with a daemon of Ceph."""
OSD = CEPH["osd"] + CEPH["logcollector"] + _CEPH_NODE


def hard_taints(node: Node) -> tuple[str, ...]:
    """Taints that keep a pod off which does not tolerate them."""
    return tuple(taint for taint in node.taints if not taint.endswith(":PreferNoSchedule"))


def daemon_requests(site: Site, node: Node) -> Iterator[tuple[str, Amount]]:
    """Name and request of every pod that stands on this node because of what the node is."""
    charts = {release.chart for _, release in installed_releases(site)}
    open_to_all = node.role is not Role.SERVER and not hard_taints(node)
    for daemon in DAEMONS:
        if daemon.chart in charts and (daemon.everywhere or open_to_all):
            yield daemon.name, daemon.request
    if node.shape.ceph and site.platform.storage.ceph.enabled:
        yield "rook-ceph-osd", OSD


def platform_requests(site: Site) -> Iterator[tuple[str, Amount]]:
    """Name and request of every pod of the platform that the scheduler may put on any node without a taint."""
    charts = {K3S, *(release.chart for _, release in installed_releases(site))}
    if site.workspaces.kubeflow.pipelines.enabled:
        charts.add(PIPELINES)  # from a mirror as a release, from upstream as a kustomization
    for one in DEPLOYED:
        if one.chart in charts:
            yield from ((one.name, one.request) for _ in range(one.replicas))
    if site.platform.storage.ceph.enabled:
        mon = CEPH["mon"] + CEPH["logcollector"] + _CEPH_NODE
        mgr = CEPH["mgr"] + CEPH["mgr-sidecar"] + CEPH["logcollector"] + _CEPH_NODE
        yield from (("rook-ceph-mon", mon) for _ in range(site.platform.storage.ceph.monitors))
        yield from (("rook-ceph-mgr", mgr) for _ in range(MANAGERS))
