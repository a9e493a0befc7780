"""Kubernetes objects for tests of decisions: only the fields that decisions look at."""

from typing import Any

import httpx

from ops.nodes.facts import HOSTNAME_LABEL, NodeFacts

Object = dict[str, Any]


def node(
    name: str,
    *,
    server: bool = False,
    ready: bool = True,
    voter: bool = True,
    annotations: dict[str, str] | None = None,
) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}]
    labels = {HOSTNAME_LABEL: name}
    if server:
        labels |= {"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true"}
        conditions.append({"type": "EtcdIsVoter", "status": str(voter)})
    return {
        "metadata": {"name": name, "labels": labels, "annotations": dict(annotations or {})},
        "spec": {},
        "status": {"conditions": conditions, "nodeInfo": {"kubeletVersion": "v1.36.4+k3s1"}},
    }


def servers(*healthy: bool) -> list[Object]:
    """server-1, server-2, …, each healthy or dead."""
    return [node(f"server-{n}", server=True, ready=well) for n, well in enumerate(healthy, start=1)]


def pod(
    name: str, *, owner: str = "", on: str = "gpu-1", gpus: int = 0, user: str = "", phase: str = "Running"
) -> Object:
    """A pod; `owner` is `Kind/name`."""
    kind, _, owner_name = owner.partition("/")
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "metadata": {
            "name": name,
            "namespace": "vision",
            "labels": {"app": name},
            "annotations": {"hub.jupyter.org/username": user} if user else {},
            "ownerReferences": [{"kind": kind, "name": owner_name, "controller": True}] if owner else [],
        },
        "spec": {"nodeName": on, "containers": [{"name": "main", "resources": {"limits": limits}}]},
        "status": {"phase": phase},
    }


def osd(number: int, host: str, *, wanted: int = 1, ready: int = 1) -> Object:
    return {
        "metadata": {"name": f"rook-ceph-osd-{number}", "namespace": "rook-ceph", "uid": f"{number:08x}-uid"},
        "spec": {"replicas": wanted, "template": {"spec": {"nodeSelector": {HOSTNAME_LABEL: host}}}},
        "status": {"readyReplicas": ready},
    }


def ceph(health: str = "HEALTH_OK", *checks: str) -> Object:
    details = {check: {"severity": health} for check in checks}
    return {"metadata": {"name": "rook-ceph"}, "spec": {}, "status": {"ceph": {"health": health, "details": details}}}


def pool(copies: int) -> Object:
    return {"metadata": {"name": "ceph-block"}, "spec": {"replicated": {"size": copies}}}


def local_volume(claim: str, *hosts: str) -> Object:
    namespace, _, name = claim.partition("/")
    expressions = [{"key": HOSTNAME_LABEL, "operator": "In", "values": list(hosts)}]
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}
    reference = {"namespace": namespace, "name": name}
    return {
        "metadata": {"name": f"pv-{name}"},
        "spec": {"claimRef": reference, "nodeAffinity": affinity if hosts else None},
    }


def budget(name: str, app: str, allowed: int = 0) -> Object:
    return {
        "metadata": {"name": name, "namespace": "vision"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1},
    }


def node_facts(name: str, **parts: Any) -> NodeFacts:
    return NodeFacts(name=name, **({"nodes": []} | parts))


def answered(status: int) -> httpx.HTTPStatusError:
    """The error that the API's client raises for a status."""
    return httpx.HTTPStatusError("", request=httpx.Request("GET", "https://api"), response=httpx.Response(status))
