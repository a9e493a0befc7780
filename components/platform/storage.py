"""Volumes: Rook-Ceph on our own disks (R4), and the campus NFS (R26)."""

from typing import Any, ClassVar

import pulumi

from components.layer import BLOCK, LOCAL, NFS, Layer, LayerArgs, Values
from config.hosts import STORAGE_KEY, Node, split_taint
from config.node_labels import HOST_DOMAIN, HOST_LABEL
from config.requests import CEPH, MANAGERS
from config.site import Site

NAMESPACE = "rook-ceph"
CEPH_DISK = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_ceph"
"""The path of a SCSI disk holds its serial, which hosts/vm.py sets."""
SHARED = "ceph-filesystem"
"""Storage class of volumes that many pods share."""


_STORAGE: list[Values] = [{"key": STORAGE_KEY, "operator": "Exists"}]
"""Tolerations of Ceph's own pods, for nodes that are reserved for Ceph."""


class Storage(Layer):
    """Storage classes of the site.

    Creates: for Ceph a namespace and three releases in their order (rook-ceph, ceph-csi-drivers, rook-ceph-cluster);
    for NFS a namespace and one release.
    Waits for: each release's workloads.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Storage"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        storage = self.site.platform.storage
        ready: list[pulumi.Resource] = []
        if storage.ceph.enabled:
            ready.append(self._add_ceph())
        if storage.nfs:
            ready.append(self.add_release("csi-driver-nfs", nfs_values(self.site)))
        self.ready = tuple(ready)
        self.register_outputs({})

    def _add_ceph(self) -> pulumi.Resource:
        operator = self.add_release("rook-ceph", operator_values(self.site))
        # Without the release of the drivers no volume is ever mounted (Rook 1.20).
        drivers = self.add_release("ceph-csi-drivers", driver_values(self.site), after=[operator])
        return self.add_release(
            "rook-ceph-cluster", cluster_values(self.site, self.nodes), after=[drivers], timeout=1800
        )


_SPREAD_MONITORS: Values = {
    "maxSkew": 1,
    "topologyKey": HOST_LABEL,
    "whenUnsatisfiable": "DoNotSchedule",
    # A host whose nodes a monitor does not tolerate, or that is down, does not count.
    "nodeTaintsPolicy": "Honor",
    "labelSelector": {"matchLabels": {"app": "rook-ceph-mon"}},
}
"""Monitors stand on as many Proxmox hosts as there are: `allowMultiplePerNode` counts nodes, two of which may be one host."""


def metrics_class(site: Site) -> str:
    """Storage class of Prometheus and Alertmanager: never the NFS export, which Prometheus does not support.

    https://prometheus.io/docs/prometheus/latest/storage/: "NFS filesystems are not supported". Without Ceph the data
    lie on the node of the pod, and end with it.
    """
    return BLOCK if site.platform.storage.ceph.enabled else LOCAL


def operator_values(site: Site) -> Values:
    """Values of the Rook operator. `crds.enabled` must stay true: without the definitions the Ceph cluster is deleted."""
    return {
        "crds": {"enabled": True},
        "csi": {"installCsiOperator": True},
        "tolerations": _STORAGE,
        "monitoring": {"enabled": site.platform.monitoring.enabled},
    }


def driver_values(site: Site) -> Values:
    """Values of the CSI drivers; their names carry the operator's namespace, as Rook expects them.

    Tolerations stand at each driver: the chart writes its own empty list into every `Driver`, and the operator takes a
    default only where there is none.
    """
    # A pod that tolerates its node's taint, as one with a GPU does, needs volumes there.
    tolerations = {
        "nodePlugin": {"tolerations": [{"operator": "Exists"}]},
        "controllerPlugin": {"tolerations": _STORAGE},
    }
    return {
        "operatorConfig": {
            "namespace": NAMESPACE,
            "driverSpecDefaults": {
                "imageSet": {"name": "rook-csi-operator-image-set-configmap"},
                "nodePlugin": {"kubeletDirPath": "/var/lib/kubelet", "priorityClassName": "system-node-critical"},
                "controllerPlugin": {"priorityClassName": "system-cluster-critical"},
            },
        },
        "drivers": {
            "rbd": {"name": f"{NAMESPACE}.rbd.csi.ceph.com", "enabled": True, **tolerations},
            "cephfs": {
                "name": f"{NAMESPACE}.cephfs.csi.ceph.com",
                "enabled": site.platform.storage.ceph.filesystem,
                **tolerations,
            },
            # Both are on by the chart's default: privileged pods on every node, whose accounts read every Secret.
            "nfs": {"enabled": False},
            "nvmeof": {"enabled": False},
        },
    }


def _storage_class(name: str, driver: str, *, default: bool, **parameters: str) -> dict[str, Any]:
    """A class of one CSI driver (`rbd` or `cephfs`); Rook creates the secrets that it names.

    The site's list of pools replaces the chart's, and with it the chart's parameters: without them no volume is created.
    """
    provisioner, node = f"rook-csi-{driver}-provisioner", f"rook-csi-{driver}-node"
    users = {
        "provisioner": provisioner,
        "controller-expand": provisioner,
        "controller-publish": provisioner,
        "node-stage": node,
    }
    secrets: dict[str, str] = {}
    for step, user in users.items():
        secrets[f"csi.storage.k8s.io/{step}-secret-name"] = user
        secrets[f"csi.storage.k8s.io/{step}-secret-namespace"] = NAMESPACE
    return {
        "enabled": True,
        "name": name,
        "isDefault": default,
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": True,
        "parameters": {**secrets, "csi.storage.k8s.io/fstype": "ext4", **parameters},
    }


def placement(nodes: tuple[Node, ...]) -> Values:
    """Placement of Ceph's daemons: each list is complete, so that it does not matter how Rook merges `all`.

    OSDs run where their disks are, whatever taints those nodes have; monitors may also run on the servers.
    """
    keys = {split_taint(taint)[0] for node in nodes if node.shape.ceph for taint in node.taints}
    disks = [{"key": key, "operator": "Exists"} for key in sorted(keys | {STORAGE_KEY})]
    monitors = [*_STORAGE, {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]
    wanted = {"all": _STORAGE, "mon": monitors, "osd": disks, "prepareosd": disks}
    placed: Values = {daemon: {"tolerations": tolerations} for daemon, tolerations in wanted.items()}
    placed["mon"]["topologySpreadConstraints"] = [_SPREAD_MONITORS]
    return placed


def cluster_values(site: Site, nodes: tuple[Node, ...]) -> Values:
    """Values of the Ceph cluster: the named disks of the named nodes, never "all devices"."""
    ceph = site.platform.storage.ceph
    # An early stage has fewer hosts than replicas; as it grows, Ceph creates the missing ones.
    copies = min(ceph.pool.replicas, len({node.host for node in nodes if node.shape.ceph}))
    replicated = {
        # A Proxmox host, not a node: two nodes of one host end together.
        "failureDomain": HOST_DOMAIN,
        "replicated": {"size": copies, "requireSafeReplicaSize": copies > 2},
    }
    filesystem = {
        "name": SHARED,
        "spec": {
            "metadataPool": replicated,
            "dataPools": [{"name": "data0", **replicated}],
            "metadataServer": {
                "activeCount": 1,
                "activeStandby": True,
                "placement": {"tolerations": _STORAGE},
            },
        },
        "storageClass": _storage_class(SHARED, "cephfs", default=False) | {"pool": "data0"},
    }
    block_class = _storage_class(BLOCK, "rbd", default=True, imageFormat="2", imageFeatures="layering")
    return {
        "operatorNamespace": NAMESPACE,
        "toolbox": {"enabled": True},
        "monitoring": {"enabled": site.platform.monitoring.enabled},
        "cephClusterSpec": {
            "mon": {"count": ceph.monitors, "allowMultiplePerNode": False},
            "mgr": {"count": MANAGERS},
            "network": {"connections": {"requireMsgr2": True}},
            # Rook sets it for block devices; CephFS would try the first protocol and not mount (rook#16369).
            "csi": {"cephfs": {"kernelMountOptions": "ms_mode=prefer-crc"}},
            "storage": {
                "useAllNodes": False,
                "useAllDevices": False,
                "nodes": [{"name": node.name, "devices": [{"name": CEPH_DISK}]} for node in nodes if node.shape.ceph],
            },
            "placement": placement(nodes),
            # The chart's own, written down because the profiles are made of what they leave (config/requests.py).
            "resources": {
                daemon: {"requests": {"cpu": f"{request.cpu}m", "memory": f"{request.memory}Mi"}}
                for daemon, request in CEPH.items()
            },
        },
        "cephBlockPools": [{"name": BLOCK, "spec": replicated, "storageClass": block_class}],
        "cephFileSystems": [filesystem] if ceph.filesystem else [],
        "cephObjectStores": [],
    }


def nfs_values(site: Site) -> Values:
    """Values of the NFS driver with one class on the campus's export; a claim gets its own directory."""
    nfs = site.platform.storage.nfs
    if nfs is None:
        raise ValueError("the site has no NFS export")
    return {
        "storageClasses": [
            {
                "name": NFS,
                "parameters": {"server": nfs.server, "share": nfs.share},
                "reclaimPolicy": "Retain",
                "mountOptions": ["nfsvers=4.1"],
            }
        ]
    }
