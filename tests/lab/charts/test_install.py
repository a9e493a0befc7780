"""Every stand-in of the catalogue, installed by the real engine, provider and Helm from the mirror, with all operators played."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from config.layers import LAYERS, record_of
from lab.charts import create_app
from lab.charts.stand_in import load_catalog
from ops.checks.status import chart_of
from tests.support.controlplane import ControlPlane
from tests.support.engine import Project
from tests.support.ports import free_port
from tests.support.stand_ins import working

pytestmark = [pytest.mark.engine, pytest.mark.lab]

NAMESPACES = {release.chart: release.namespace for record in LAYERS for release in record.releases}
AFTER = {
    release.chart: [
        *(one.chart for one in record.releases[:index] if one.namespace == release.namespace),
        *(one.chart for need in record.needs for one in record_of(need.layer).releases),
    ]
    for record in LAYERS
    for index, release in enumerate(record.releases)
}
"""Chart -> charts that are installed before it: those of its layer, and of the layers that it needs."""
DRIVERS = {"rbd": {"name": "rook-ceph.rbd.csi.ceph.com"}, "cephfs": {"name": "rook-ceph.cephfs.csi.ceph.com"}}
VALUES = {
    "cert-manager": {"crds": {"enabled": True}},
    "ceph-csi-drivers": {"drivers": {**DRIVERS, "nfs": {"enabled": False}, "nvmeof": {"enabled": False}}},
    "ingress-nginx": {"controller": {"kind": "DaemonSet", "metrics": {"enabled": True}}},
    "kserve-runtime-configs": {"kserve": {"servingruntime": {"enabled": True}}},
    "kube-prometheus-stack": {"grafana": {"persistence": {"enabled": True}}},
    "csi-driver-nfs": {"storageClass": {"create": True, "name": "nfs"}},
    "rook-ceph-cluster": {"toolbox": {"enabled": True}},
}
PROGRAM = """
import json
import pulumi
import pulumi_kubernetes as k8s

given = json.load(open("given.json"))
provider = k8s.Provider("k3s", kubeconfig=given["kubeconfig"])
made = {}

def namespace(name):
    key = f"namespace-{name}"
    if key not in made:
        made[key] = k8s.core.v1.Namespace(key, metadata={"name": name}, opts=pulumi.ResourceOptions(provider=provider))
    return made[key]

def install(chart):
    if chart in made:
        return made[chart]
    needed = [install(name) for name in given["after"].get(chart, [])]
    made[chart] = k8s.helm.v3.Release(
        chart, name=chart, chart=chart, version=given["versions"][chart], timeout=120,
        namespace=namespace(given["namespaces"].get(chart, chart)).metadata.name,
        repository_opts={"repo": given["mirror"]}, values=given["values"].get(chart, {}),
        opts=pulumi.ResourceOptions(provider=provider, depends_on=needed))
    if chart == "metallb":
        made[chart] = k8s.apiextensions.CustomResource(
            "pool", api_version="metallb.io/v1beta1", kind="IPAddressPool",
            metadata={"name": "campus", "namespace": "metallb-system"}, spec={"addresses": ["10.9.0.50-10.9.0.60"]},
            opts=pulumi.ResourceOptions(provider=provider, depends_on=[made[chart]]))
    return made[chart]

for chart in given["versions"]:
    install(chart)
"""


@contextmanager
def mirror(run: Path) -> Iterator[str]:
    """Serves the mirror on loopback and yields the address of its charts."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(run), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/charts"
    finally:
        server.should_exit = True
        thread.join(timeout=60)


def unready(cluster: ControlPlane) -> list[str]:
    """Deployments that lack pods, and claims without a volume."""
    deployments = cluster.get("/apis/apps/v1/deployments")["items"]
    claims = cluster.get("/api/v1/persistentvolumeclaims")["items"]
    assert deployments, "the control"
    assert claims, "the control"
    lacking = [item for item in deployments if item["status"].get("readyReplicas", 0) < item["spec"]["replicas"]]
    return [
        item["metadata"]["name"] for item in (*lacking, *(one for one in claims if one["status"]["phase"] != "Bound"))
    ]


def test_every_chart_installs_becomes_ready_and_then_stays_as_it_is(tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "plane") as cluster, mirror(tmp_path) as charts:
        card = {"address": "0000:01:00.0", "vendor": "10de", "device": "20f1", "name": "NVIDIA A100 40GB PCIe"}
        for name in ("node-1", "node-2", "node-3"):
            cluster.node(name, annotations={"lab.lyceum/gpus": json.dumps([card])})
        project = Project(tmp_path / "project")
        given = {
            "kubeconfig": cluster.kubeconfig.read_text(),
            "mirror": charts,
            "namespaces": NAMESPACES,
            "after": AFTER,
            "values": VALUES,
            "versions": {entry.name: entry.version for entry in load_catalog()},
        }
        (project.directory / "given.json").write_text(json.dumps(given))
        project.program(PROGRAM)
        with working(cluster.kubeconfig.read_text):
            project.up()
            again = project.up()
            # What operators make of a release is nothing that Helm waits for.
            cluster.eventually("every workload and claim is ready", lambda: not unready(cluster))
            helm = cluster.get("/api/v1/secrets?labelSelector=owner%3Dhelm")["items"]
            assert {chart_of(secret) for secret in helm} == {
                f"{entry.name}-{entry.version}" for entry in load_catalog()
            }
            node = "/api/v1/nodes/node-1"
            cluster.eventually("a card", lambda: cluster.get(node)["status"]["allocatable"]["nvidia.com/gpu"] == "1")
    changed = [
        word
        for word in ("created", "updated", "replaced", "deleted")
        if f" {word}" in again.output.split("Resources:")[1]
    ]
    assert changed == [], "a second `pulumi up` must find nothing to do"
