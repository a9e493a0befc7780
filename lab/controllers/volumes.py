"""Volumes for claims, as CSI provisioners make them, and attachments as their attachers confirm them."""

from collections.abc import Iterator

from lab.controllers.changes import Change, Create, Delete, decide_each, ensure_fields
from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path, key, name, namespace, uid

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"

LOCAL_PATH = "rancher.io/local-path"


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Creates a volume for each claim that Kubernetes hands to a provisioner, and removes those that are released."""
    yield from decide_each(cache.all("PersistentVolumeClaim"), lambda claim: _provision_claim(cache, claim))
    for volume in cache.all("PersistentVolume"):
        released = get_path(volume, "status", "phase") == "Released"
        ours = _is_simulated(annotations(volume).get(PROVISIONED_BY, ""))
        if released and ours and get_path(volume, "spec", "persistentVolumeReclaimPolicy") == "Delete":
            yield Delete("PersistentVolume", "", name(volume))
    for attachment in cache.all("VolumeAttachment"):
        if _is_simulated(get_path(attachment, "spec", "attacher", default="")):
            yield from ensure_fields(attachment, {"status": {"attached": True}}, "status")


def _provision_claim(cache: ClusterCache, claim: Object) -> Iterator[Change]:
    provisioner = annotations(claim).get(PROVISIONER, "")
    class_ = cache.get("StorageClass", get_path(claim, "spec", "storageClassName", default=""))
    if get_path(claim, "spec", "volumeName") or class_ is None or not _can_provision(cache, provisioner, class_):
        return
    if class_.get("volumeBindingMode") == "WaitForFirstConsumer" and SELECTED_NODE not in annotations(claim):
        return
    volume = _build_volume(claim, class_, provisioner)
    if cache.get("PersistentVolume", name(volume)) is None:
        yield Create(volume)


def _is_simulated(provisioner: str) -> bool:
    return provisioner == LOCAL_PATH or provisioner.endswith((".csi.ceph.com", "nfs.csi.k8s.io"))


def _can_provision(cache: ClusterCache, provisioner: str, class_: Object) -> bool:
    """Whether what would provision is running, and what it provisions from is there."""
    if provisioner == LOCAL_PATH:
        return cache.workload("Deployment", "local-path-provisioner") is not None
    if provisioner == "nfs.csi.k8s.io":
        return cache.operator(name="csi-driver-nfs") is not None
    if not provisioner.endswith(".csi.ceph.com") or cache.workload("Deployment", f"{provisioner}-ctrlplugin") is None:
        return False
    parameters = class_.get("parameters") or {}
    within = parameters.get("clusterID", "")
    if "fsName" in parameters:
        source = cache.get("CephFilesystem", parameters["fsName"], within)
    else:
        source = cache.get("CephBlockPool", parameters.get("pool", ""), within)
    return source is not None and get_path(source, "status", "phase") == "Ready"


def _build_volume(claim: Object, class_: Object, provisioner: str) -> Object:
    called = f"pvc-{uid(claim)}"
    spec: Object = {
        "accessModes": get_path(claim, "spec", "accessModes"),
        "capacity": {"storage": get_path(claim, "spec", "resources", "requests", "storage")},
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace(claim),
            "name": name(claim),
            "uid": uid(claim),
        },
        "persistentVolumeReclaimPolicy": class_.get("reclaimPolicy", "Delete"),
        "storageClassName": name(class_),
        "volumeMode": get_path(claim, "spec", "volumeMode", default="Filesystem"),
    }
    if provisioner == LOCAL_PATH:
        directory = "_".join((called, *key(claim)))
        spec["hostPath"] = {"path": f"/var/lib/rancher/k3s/storage/{directory}", "type": "DirectoryOrCreate"}
        node = {
            "key": "kubernetes.io/hostname",
            "operator": "In",
            "values": [annotations(claim).get(SELECTED_NODE, "")],
        }
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}}
    else:
        attributes = {step: value for step, value in (class_.get("parameters") or {}).items() if "/" not in step}
        spec["csi"] = {"driver": provisioner, "volumeHandle": called, "volumeAttributes": attributes}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": called, "annotations": {PROVISIONED_BY: provisioner}},
        "spec": spec,
    }
