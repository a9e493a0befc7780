"""The checks themselves: each catches the mistake it is there for."""

from typing import Any

import pytest

from tests.contracts.charts import COMMENTED, check_custom_resource, check_values, shown_in_comments
from tests.contracts.upstream import needs_upstream

pytestmark = needs_upstream


@pytest.mark.parametrize(
    ("chart", "values", "problem"),
    [
        ("metallb", {"speakr": {}}, "speakr: metallb has no such value; did you mean `speaker`?"),
        ("metallb", {"speaker": {"frr": {"enbled": False}}}, "did you mean `enabled`?"),
        ("metallb", {"frrk8s": False}, "frrk8s: is False, but upstream has a map there"),
        ("metallb", {"frrk8s": {"enabled": "no"}}, "frrk8s.enabled: is 'no', but upstream has True there"),
        ("ingress-nginx", {"controller": {"kind": {"a": 1}}}, "controller.kind: is a map"),
        ("cert-manager", {"crds": {"enabled": True, "kep": True}}, "kep"),
        ("cert-manager", {"replicaCount": "two"}, "replicaCount: 'two' is not of type 'number'"),
        ("jupyterhub", {"cull": {"timout": 1}}, "timout"),
        ("jupyterhub", {"singleuser": {"profileList": "all"}}, "singleuser.profileList"),
        ("rook-ceph-cluster", {"cephClusterSpec": {"mon": {"cnt": 3}}}, "cephClusterSpec.mon: Additional properties"),
        (
            "rook-ceph-cluster",
            {"cephBlockPools": [{"name": "a", "spec": {"replicated": {"sise": 3}}}]},
            "'sise' was unexpected",
        ),
        ("rook-ceph-cluster", {"cephBlockPools": [{"name": "a", "storageClas": {}}]}, "did you mean `storageClass`?"),
        ("csi-driver-nfs", {"storageClass": {"create": True, "nam": "x"}}, "did you mean `name`?"),
        ("kube-prometheus-stack", {"grafana": {"persistance": {}}}, "did you mean `persistence`?"),
        ("kube-prometheus-stack", {"prometheus": {"prometheusSpec": {"retension": "1d"}}}, "did you mean `retention`?"),
        ("kubeflow-pipelines", {"mysql": {}}, "kubeflow-pipelines takes no values"),
    ],
)
def test_a_mistaken_value_is_found(chart: str, values: dict[str, Any], problem: str) -> None:
    found = check_values(chart, values)
    assert any(problem in line for line in found), f"no '{problem}' in {found}"


@pytest.mark.parametrize(
    ("chart", "values"),
    [
        ("metallb", {"speaker": {"tolerateMaster": True, "nodeSelector": {"a": "b"}}, "frrk8s": {"enabled": False}}),
        ("ingress-nginx", {"controller": {"kind": "DaemonSet", "config": {"proxy-body-size": "0"}}}),
        ("ingress-nginx", {"controller": {"service": {"annotations": {"metallb.io/loadBalancerIPs": "10.0.0.1"}}}}),
        ("cert-manager", {"crds": {"enabled": True}, "nodeSelector": {"zone": "a"}}),
        ("jupyterhub", {"hub": {"config": {"GenericOAuthenticator": {"client_id": "x"}}}}),
        ("rook-ceph-cluster", {"cephClusterSpec": {"mon": {"count": 1}, "placement": {"all": {"tolerations": []}}}}),
        ("rook-ceph-cluster", {"cephBlockPools": [{"name": "a", "spec": {"replicated": {"size": 2, "requireSafeReplicaSize": False}}}]}),
        ("csi-driver-nfs", {"storageClass": {"create": True, "name": "x", "parameters": {"server": "a"}}}),
        ("gpu-operator", {"migManager": {"config": {"data": {"config.yaml": "..."}}}}),
        ("kube-prometheus-stack", {"prometheus": {"prometheusSpec": {"storageSpec": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}}}}}),
    ],
)  # fmt: skip
def test_a_good_value_is_let_through(chart: str, values: dict[str, Any]) -> None:
    assert check_values(chart, values) == []


def resource(kind: str, api_version: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (resource("IPAddressPool", "metallb.io/v1beta1", adresses=["10.0.0.0/24"]), "'adresses' was unexpected"),
        (resource("IPAddressPool", "metallb.io/v1beta1"), "'addresses' is a required property"),
        (resource("IPAddressPool", "metallb.io/v1", addresses=[]), "no such kind at a served version"),
        (
            resource("Certificate", "cert-manager.io/v1", secretName="a", issuerRef={"name": 1}),
            "spec.issuerRef.name: 1",
        ),
        (resource("ClusterQueue", "kueue.x-k8s.io/v1beta2", stopPolicy="Halt"), "'Halt' is not one of"),
        (resource("AlertmanagerConfig", "monitoring.coreos.com/v1alpha1", rout={}), "'rout' was unexpected"),
        (resource("Nonsense", "metallb.io/v1beta1"), "upstream's files define no such kind"),
    ],
)
def test_a_mistaken_custom_resource_is_found(item: dict[str, Any], problem: str) -> None:
    found = check_custom_resource(item)
    assert any(problem in line for line in found), f"no '{problem}' in {found}"


@pytest.mark.parametrize(
    "item",
    [
        resource("IPAddressPool", "metallb.io/v1beta1", addresses=["10.0.0.0/24"], autoAssign=False),
        resource("Certificate", "cert-manager.io/v1", secretName="a", issuerRef={"name": "b"}, dnsNames=["c"]),
        resource("ResourceFlavor", "kueue.x-k8s.io/v1beta2", nodeLabels={"a": "b"}),
    ],
)
def test_a_good_custom_resource_is_let_through(item: dict[str, Any]) -> None:
    assert check_custom_resource(item) == []


def test_values_that_are_let_through_because_of_a_comment_stand_in_one() -> None:
    for chart, paths in COMMENTED.items():
        for keys in paths.values():
            assert [key for key in keys if not shown_in_comments(chart, key)] == [], (
                f"{chart}: not in upstream's comments"
            )
