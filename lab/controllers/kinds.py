"""The kinds that the stand-ins watch or write, and their places in the API."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceKind:
    """Where a kind lives in the API."""

    group: str
    """API group; empty for the core group."""
    version: str
    plural: str
    namespaced: bool = True
    custom: bool = False
    """Whether it exists only once its custom resource definition is installed."""
    watched: bool = True

    @property
    def api_version(self) -> str:
        """As objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The URL path of a collection, or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{middle}/{self.plural}{f'/{name}' if name else ''}"


def crd_name(kind: ResourceKind) -> str:
    """The name of the definition that a custom kind waits for."""
    return f"{kind.plural}.{kind.group}"


def _custom_kind(group: str, version: str, plural: str, *, namespaced: bool = True) -> ResourceKind:
    return ResourceKind(group, version, plural, namespaced, custom=True)


_CEPH, _CERTS, _MONITORING = "ceph.rook.io", "cert-manager.io", "monitoring.coreos.com"

KINDS: dict[str, ResourceKind] = {
    "ConfigMap": ResourceKind("", "v1", "configmaps"),
    "Event": ResourceKind("", "v1", "events", watched=False),
    "Node": ResourceKind("", "v1", "nodes", namespaced=False),
    "PersistentVolume": ResourceKind("", "v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": ResourceKind("", "v1", "persistentvolumeclaims"),
    "Service": ResourceKind("", "v1", "services"),
    "DaemonSet": ResourceKind("apps", "v1", "daemonsets"),
    "Deployment": ResourceKind("apps", "v1", "deployments"),
    "StatefulSet": ResourceKind("apps", "v1", "statefulsets"),
    "CSIDriver": ResourceKind("storage.k8s.io", "v1", "csidrivers", namespaced=False),
    "StorageClass": ResourceKind("storage.k8s.io", "v1", "storageclasses", namespaced=False),
    "VolumeAttachment": ResourceKind("storage.k8s.io", "v1", "volumeattachments", namespaced=False),
    "RuntimeClass": ResourceKind("node.k8s.io", "v1", "runtimeclasses", namespaced=False),
    "ValidatingWebhookConfiguration": ResourceKind(
        "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False
    ),
    "MutatingWebhookConfiguration": ResourceKind(
        "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False
    ),
    "CustomResourceDefinition": ResourceKind(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False
    ),
    "IPAddressPool": _custom_kind("metallb.io", "v1beta1", "ipaddresspools"),
    "Issuer": _custom_kind(_CERTS, "v1", "issuers"),
    "ClusterIssuer": _custom_kind(_CERTS, "v1", "clusterissuers", namespaced=False),
    "Certificate": _custom_kind(_CERTS, "v1", "certificates"),
    "ClusterPolicy": _custom_kind("nvidia.com", "v1", "clusterpolicies", namespaced=False),
    "CephCluster": _custom_kind(_CEPH, "v1", "cephclusters"),
    "CephBlockPool": _custom_kind(_CEPH, "v1", "cephblockpools"),
    "CephFilesystem": _custom_kind(_CEPH, "v1", "cephfilesystems"),
    "CephFilesystemSubVolumeGroup": _custom_kind(_CEPH, "v1", "cephfilesystemsubvolumegroups"),
    "CephObjectStore": _custom_kind(_CEPH, "v1", "cephobjectstores"),
    "Driver": _custom_kind("csi.ceph.io", "v1", "drivers"),
    "OperatorConfig": _custom_kind("csi.ceph.io", "v1", "operatorconfigs"),
    "ServiceMonitor": _custom_kind(_MONITORING, "v1", "servicemonitors"),
}
