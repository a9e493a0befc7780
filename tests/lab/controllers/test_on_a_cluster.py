"""The stand-ins against a real API server, with Kubernetes' own controllers around them."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from lab.charts.crds import build_definitions
from lab.charts.stand_in import load_catalog
from lab.controllers.kinds import KINDS
from lab.controllers.snapshot_cache import get_path
from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", autouse=True)
def operators(cluster: ControlPlane) -> None:
    """The custom resources and the workloads of the operators that are played here."""
    played = ("metallb", "rook-ceph", "gpu-operator")
    crds = [entry.crds for entry in load_catalog() if entry.name in played and entry.crds]
    cluster.define(*(definition for one in crds for definition in build_definitions(one)))
    for name, labels in (
        ("metallb-controller", {"name": "metallb", "component": "controller"}),
        ("rook-ceph-operator", {}),
        ("ceph-csi-controller-manager", {}),
        ("gpu-operator", {"component": "gpu-operator"}),
    ):
        deploy(cluster, "Deployment", name, {f"app.kubernetes.io/{label}": value for label, value in labels.items()})
    deploy(cluster, "DaemonSet", "gpu-operator-node-feature-discovery-worker", {})


@pytest.fixture
def pool(cluster: ControlPlane) -> Iterator[None]:
    put(cluster, "IPAddressPool", "campus", "default", spec={"addresses": ["10.9.0.50-10.9.0.51"]})
    yield
    cluster.delete(KINDS["IPAddressPool"].path("default", "campus"))


def deploy(cluster: ControlPlane, kind: str, name: str, labels: dict[str, str]) -> None:
    marks = {"app": name}
    pod = {"metadata": {"labels": marks}, "spec": {"containers": [{"name": "main", "image": "lab/operator"}]}}
    put(cluster, kind, name, "default", labels=labels, spec={"selector": {"matchLabels": marks}, "template": pod})


def put(
    cluster: ControlPlane,
    kind: str,
    name: str,
    namespace: str = "",
    labels: dict[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}} | ({"namespace": namespace} if namespace else {})
    body = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **fields}
    return cluster.create(KINDS[kind].path(namespace), body)


def status(cluster: ControlPlane, kind: str, name: str, *keys: str, namespace: str = "") -> Any:
    return get_path(cluster.get(KINDS[kind].path(namespace, name)), "status", *keys)


def web(cluster: ControlPlane, name: str, **asked: str) -> None:
    put(
        cluster,
        "Service",
        name,
        "default",
        spec={"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"a": "b"}, **asked},
    )


def address(cluster: ControlPlane, name: str) -> str | None:
    ingress = status(cluster, "Service", name, "loadBalancer", "ingress", namespace="default")
    return ingress[0]["ip"] if ingress else None


def test_a_service_gets_an_address_and_gives_it_back_when_it_goes(cluster: ControlPlane, pool: None) -> None:
    for name in ("web-1", "web-2"):
        web(cluster, name)
    given = [
        cluster.eventually(f"{name} has an address", partial(address, cluster, name)) for name in ("web-1", "web-2")
    ]
    assert sorted(given) == ["10.9.0.50", "10.9.0.51"]
    cluster.delete("/api/v1/namespaces/default/services/web-1")
    web(cluster, "web-3")
    assert cluster.eventually("the address is free again", lambda: address(cluster, "web-3")) == given[0]
    for name in ("web-2", "web-3"):
        cluster.delete(f"/api/v1/namespaces/default/services/{name}")


def test_a_claim_is_bound_by_kubernetes_and_its_volume_goes_with_it(cluster: ControlPlane) -> None:
    driver = "default.rbd.csi.ceph.com"
    put(cluster, "Driver", driver, "default", spec={})
    hosts = [{"name": name, "devices": [{"name": "/dev/disk/by-id/x"}]} for name in ("worker-1", "worker-2")]
    # Both monitors and the OSDs of two hosts: as much as two nodes can carry.
    spec = {"mon": {"count": 1}, "mgr": {"count": 1}, "storage": {"useAllNodes": False, "nodes": hosts}}
    put(cluster, "CephCluster", "ceph", "default", spec=spec)
    put(cluster, "CephBlockPool", "blocks", "default", spec={"replicated": {"size": 2}})
    parameters = {"clusterID": "default", "pool": "blocks"}
    put(cluster, "StorageClass", "ceph-block", provisioner=driver, parameters=parameters)
    wish = {
        "storageClassName": "ceph-block",
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    put(cluster, "PersistentVolumeClaim", "home", "default", spec=wish)
    claim = "/api/v1/namespaces/default/persistentvolumeclaims/home"
    cluster.eventually("the claim is bound", lambda: cluster.get(claim)["status"]["phase"] == "Bound")
    assert status(cluster, "CephCluster", "ceph", "ceph", "health", namespace="default") == "HEALTH_OK"
    cluster.delete(claim)
    cluster.eventually("the volume is gone", lambda: not cluster.get("/api/v1/persistentvolumes")["items"])


def test_a_node_offers_slices_when_its_label_asks_for_them(cluster: ControlPlane) -> None:
    card = {"address": "0000:01:00.0", "vendor": "10de", "device": "20f1", "name": "NVIDIA A100 40GB PCIe"}
    cluster.node("gpu-1", annotations={"lab.lyceum/gpus": json.dumps([card])})
    policy = {"mig": {"strategy": "mixed"}, "migManager": {"enabled": True, "config": {"default": "all-disabled"}}}
    put(cluster, "ClusterPolicy", "cluster-policy", spec=policy)
    cluster.eventually(
        "the policy is ready",
        lambda: status(cluster, "ClusterPolicy", "cluster-policy", "state") == "ready",
    )

    def offers(resource: str) -> Any:
        return (status(cluster, "Node", "gpu-1", "allocatable") or {}).get(resource)

    cluster.eventually("the whole card is offered", lambda: offers("nvidia.com/gpu") == "1")
    cluster.patch("/api/v1/nodes/gpu-1", {"metadata": {"labels": {"nvidia.com/mig.config": "all-1g.5gb"}}})
    cluster.eventually("seven slices are offered", lambda: offers("nvidia.com/mig-1g.5gb") == "7")
    labels = cluster.get("/api/v1/nodes/gpu-1")["metadata"]["labels"]
    assert labels["nvidia.com/mig.config.state"] == "success"


def test_the_stand_ins_go_on_after_the_api_server_was_killed(cluster: ControlPlane, pool: None) -> None:
    """The last test of this file: what it breaks for a moment, the others need."""
    cluster.restart_apiserver()
    web(cluster, "afterwards")
    assert cluster.eventually("the Service has an address", lambda: address(cluster, "afterwards"))
    cluster.delete("/api/v1/namespaces/default/services/afterwards")
