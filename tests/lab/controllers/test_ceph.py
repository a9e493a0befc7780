"""A Ceph cluster becomes ready step by step, and volumes come only from what is there."""

from typing import Any

import pytest

from lab.controllers import ceph, volumes
from lab.controllers.changes import Change, Delete
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path
from tests.lab.controllers.objects import after, cache, running, thing

ROOK = running("rook-ceph-operator", "rook-ceph")
CSI = running("ceph-csi-controller-manager", "rook-ceph")
RBD = thing("Driver", "rook-ceph.rbd.csi.ceph.com", "rook-ceph", spec={})
HOSTS = [
    thing("Node", name, metadata={"labels": {"kubernetes.io/hostname": name}}, spec={}) for name in ("a", "b", "c")
]
CLASS = thing(
    "StorageClass",
    "ceph-block",
    provisioner="rook-ceph.rbd.csi.ceph.com",
    parameters={"clusterID": "rook-ceph", "pool": "blocks", "csi.storage.k8s.io/fstype": "ext4"},
)


def cluster(**spec: Any) -> Object:
    nodes = [{"name": name, "devices": [{"name": "/dev/disk/by-id/x"}]} for name in ("a", "b", "c")]
    base = {"mon": {"count": 3}, "mgr": {"count": 2}, "storage": {"useAllNodes": False, "nodes": nodes}}
    return thing("CephCluster", "rook-ceph", "rook-ceph", spec={**base, **spec})


def pool(size: int = 3) -> Object:
    return thing("CephBlockPool", "blocks", "rook-ceph", spec={"replicated": {"size": size}})


def claim(**annotations: str) -> Object:
    given = {"volume.kubernetes.io/storage-provisioner": "rook-ceph.rbd.csi.ceph.com"} | annotations
    spec = {
        "storageClassName": "ceph-block",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "5Gi"}},
    }
    return thing("PersistentVolumeClaim", "home", "jhub", metadata={"annotations": given}, spec=spec)


def reconcile(campus: ClusterCache) -> list[Change]:
    everything: list[Change] = []
    for _ in range(8):
        changes = [*ceph.decide(campus), *volumes.decide(campus)]
        if not changes:
            return everything
        everything += changes
        after(campus, changes)
    raise AssertionError(f"does not settle: {everything[-3:]}")


def status(campus: ClusterCache, kind: str, name: str) -> Any:
    return get_path(campus.get(kind, name, "rook-ceph") or {}, "status", default={})


def deployments(campus: ClusterCache) -> set[str]:
    return {name for _, name in campus.objects["Deployment"]}


def test_a_cluster_runs_its_daemons_before_it_is_ready() -> None:
    campus = cache(ROOK, *HOSTS, cluster(), pool())
    after(campus, list(ceph.decide(campus)))
    assert status(campus, "CephCluster", "rook-ceph")["phase"] == "Progressing"
    reconcile(campus)
    assert {
        f"rook-ceph-{daemon}" for daemon in ("mon-a", "mon-b", "mon-c", "mgr-a", "mgr-b", "osd-0", "osd-2")
    } <= deployments(campus)
    found = status(campus, "CephCluster", "rook-ceph")
    assert (found["phase"], found["ceph"]["health"]) == ("Ready", "HEALTH_OK")
    assert found["storage"]["osd"]["storeType"]["bluestore"] == 3
    assert status(campus, "CephBlockPool", "blocks")["phase"] == "Ready"


def test_drivers_get_what_the_operators_configuration_says_about_all() -> None:
    everywhere = [{"operator": "Exists"}]
    defaults = {"driverSpecDefaults": {"nodePlugin": {"tolerations": everywhere}}}
    configuration = thing("OperatorConfig", "ceph-csi-operator-config", "rook-ceph", spec=defaults)
    campus = cache(CSI, configuration, RBD)
    reconcile(campus)
    plugin = campus.get("DaemonSet", "rook-ceph.rbd.csi.ceph.com-nodeplugin", "rook-ceph") or {}
    assert get_path(plugin, "spec", "template", "spec", "tolerations") == everywhere


def test_a_drivers_own_empty_list_is_an_answer() -> None:
    """The operator takes a default only where a driver has no field (mergeDriverSpecs, ceph-csi-operator v1.0.4)."""
    defaults = {"driverSpecDefaults": {"nodePlugin": {"tolerations": [{"operator": "Exists"}]}}}
    configuration = thing("OperatorConfig", "ceph-csi-operator-config", "rook-ceph", spec=defaults)
    driver = thing("Driver", "rook-ceph.rbd.csi.ceph.com", "rook-ceph", spec={"nodePlugin": {"tolerations": []}})
    campus = cache(CSI, configuration, driver)
    reconcile(campus)
    plugin = campus.get("DaemonSet", "rook-ceph.rbd.csi.ceph.com-nodeplugin", "rook-ceph") or {}
    assert "tolerations" not in get_path(plugin, "spec", "template", "spec")


def test_each_osd_stays_on_the_host_of_its_disk() -> None:
    campus = cache(ROOK, *HOSTS, cluster())
    reconcile(campus)
    osd = campus.get("Deployment", "rook-ceph-osd-1", "rook-ceph")
    assert get_path(osd or {}, "spec", "template", "spec", "nodeSelector") == {"kubernetes.io/hostname": "b"}


def test_an_osd_keeps_its_number_when_hosts_come_and_go() -> None:
    campus = cache(ROOK, *HOSTS, cluster())
    reconcile(campus)
    listed = [{"name": name, "devices": [{"name": "x"}]} for name in ("new", "b", "c")]
    campus.objects["Node"]["", "new"] = thing(
        "Node", "new", metadata={"labels": {"kubernetes.io/hostname": "new"}}, spec={}
    )
    campus.objects["CephCluster"]["rook-ceph", "rook-ceph"]["spec"]["storage"]["nodes"] = listed
    reconcile(campus)
    hosts = {
        name: get_path(item, "spec", "template", "spec", "nodeSelector", "kubernetes.io/hostname")
        for (_, name), item in campus.objects["Deployment"].items()
        if name.startswith("rook-ceph-osd")
    }
    assert hosts == {"rook-ceph-osd-0": "a", "rook-ceph-osd-1": "b", "rook-ceph-osd-2": "c", "rook-ceph-osd-3": "new"}


@pytest.mark.parametrize(
    ("storage", "complaint"),
    [
        ({"nodes": [{"name": "nowhere", "devices": [{"name": "x"}]}]}, "TOO_FEW_OSDS"),
        ({"nodes": [{"name": "a", "devices": [{"name": "x"}, {"name": "y"}, {"name": "z"}]}]}, "PG_DEGRADED"),
    ],
)
def test_too_few_disks_or_hosts_make_the_cluster_unhealthy(storage: Object, complaint: str) -> None:
    campus = cache(ROOK, *HOSTS, cluster(storage=storage), pool())
    reconcile(campus)
    found = status(campus, "CephCluster", "rook-ceph")["ceph"]
    assert (found["health"], list(found["details"])) == ("HEALTH_WARN", [complaint])


def test_a_monitor_that_fails_later_is_a_matter_of_health_until_it_is_back() -> None:
    campus = cache(ROOK, *HOSTS, cluster(), pool())
    reconcile(campus)
    monitor = campus.objects["Deployment"]["rook-ceph", "rook-ceph-mon-b"]
    before = monitor.pop("status")
    reconcile(campus)
    found = status(campus, "CephCluster", "rook-ceph")
    assert (found["phase"], found["ceph"]["health"], list(found["ceph"]["details"])) == (
        "Ready",
        "HEALTH_WARN",
        ["MON_DOWN"],
    )
    monitor["status"] = before
    reconcile(campus)
    found = status(campus, "CephCluster", "rook-ceph")["ceph"]
    assert (found["health"], found.get("details")) == ("HEALTH_OK", None)


def test_placement_and_resources_reach_the_daemons() -> None:
    toleration = {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}
    placed = cluster(placement={"mon": {"tolerations": [toleration]}}, resources={"mon": {"requests": {"cpu": "1"}}})
    campus = cache(ROOK, *HOSTS, placed)
    reconcile(campus)
    pod = get_path(campus.get("Deployment", "rook-ceph-mon-a", "rook-ceph") or {}, "spec", "template", "spec")
    assert pod["tolerations"] == [toleration]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
    assert "podAntiAffinity" in pod["affinity"], "two monitors on one host would die together"


def test_file_systems_and_object_stores_get_their_daemons_once_the_cluster_runs() -> None:
    filesystem = thing(
        "CephFilesystem", "shared", "rook-ceph", spec={"metadataServer": {"activeCount": 1, "activeStandby": True}}
    )
    store = thing("CephObjectStore", "s3", "rook-ceph", spec={"gateway": {"port": 80, "instances": 2}})
    campus = cache(ROOK, *HOSTS, cluster(), filesystem, store)
    reconcile(campus)
    assert {"rook-ceph-mds-shared-a", "rook-ceph-mds-shared-b", "rook-ceph-rgw-s3-a"} <= deployments(campus)
    assert status(campus, "CephFilesystem", "shared")["phase"] == "Ready"
    assert status(campus, "CephObjectStore", "s3")["info"] == {"endpoint": "http://rook-ceph-rgw-s3.rook-ceph.svc:80"}


def test_a_claim_gets_a_volume_of_its_class() -> None:
    campus = cache(ROOK, CSI, RBD, *HOSTS, cluster(), pool(), CLASS, claim())
    reconcile(campus)
    (volume,) = campus.all("PersistentVolume")
    assert volume["spec"]["csi"]["driver"] == "rook-ceph.rbd.csi.ceph.com"
    assert (volume["spec"]["claimRef"]["uid"], volume["spec"]["capacity"]) == ("uid-home", {"storage": "5Gi"})


@pytest.mark.parametrize("missing", ["Driver", "CephBlockPool", "CephCluster"])
def test_no_volume_comes_without_driver_pool_or_cluster(missing: str) -> None:
    objects = [ROOK, CSI, RBD, *HOSTS, cluster(), pool(), CLASS, claim()]
    campus = cache(*(item for item in objects if item["kind"] != missing))
    reconcile(campus)
    assert campus.all("PersistentVolume") == [], f"without a {missing} Ceph cannot make a volume"


def test_a_class_that_waits_for_a_pod_makes_no_volume_before_one_is_placed() -> None:
    waiting = CLASS | {"volumeBindingMode": "WaitForFirstConsumer"}
    base = [ROOK, CSI, RBD, *HOSTS, cluster(), pool(), waiting]
    campus = cache(*base, claim())
    reconcile(campus)
    assert campus.all("PersistentVolume") == []
    campus = cache(*base, claim(**{"volume.kubernetes.io/selected-node": "a"}))
    reconcile(campus)
    assert len(campus.all("PersistentVolume")) == 1


@pytest.mark.parametrize(("policy", "removed"), [("Delete", True), ("Retain", False)])
def test_a_released_volume_goes_as_its_reclaim_policy_says(policy: str, removed: bool) -> None:
    volume = thing(
        "PersistentVolume",
        "pvc-1",
        metadata={"annotations": {"pv.kubernetes.io/provisioned-by": "rook-ceph.rbd.csi.ceph.com"}},
        spec={"persistentVolumeReclaimPolicy": policy},
        status={"phase": "Released"},
    )
    assert (Delete("PersistentVolume", "", "pvc-1") in list(volumes.decide(cache(volume)))) is removed


def test_a_local_volume_is_bound_to_its_node() -> None:
    local = thing(
        "StorageClass", "local-path", provisioner="rancher.io/local-path", volumeBindingMode="WaitForFirstConsumer"
    )
    wish = claim(
        **{
            "volume.kubernetes.io/storage-provisioner": "rancher.io/local-path",
            "volume.kubernetes.io/selected-node": "a",
        }
    )
    wish["spec"]["storageClassName"] = "local-path"
    campus = cache(running("local-path-provisioner", "kube-system"), local, wish)
    reconcile(campus)
    (volume,) = campus.all("PersistentVolume")
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["a"]
