"""K3s's packaged components, as far as a cluster without containers needs them: same names, nothing more.

Left out, because nothing could stand behind them: Traefik and its Helm chart, ServiceLB's pods, and the APIService of
metrics-server, which without a backend would stall discovery and the deletion of namespaces.
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from lab.k3s.config import Options

__all__ = ["not_simulated", "packaged_manifests"]

Object = dict[str, Any]

_RUNTIMES = ("crun", "lunatic", "nvidia", "nvidia-cdi", "nvidia-experimental", "slight", "spin", "wasmedge", "wasmer",
             "wasmtime", "wws")  # fmt: skip


def _meta(name: str, **labels: str) -> Object:
    return {"name": name, "namespace": "kube-system", **({"labels": labels} if labels else {})}


def _account(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(name)}


def _deployment(name: str, app: Mapping[str, str], image: str, account: str, port: int | None = None) -> Object:
    container: Object = {
        "name": name,
        "image": image,
        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
        **({"ports": [{"containerPort": port}]} if port else {}),
    }
    tolerations = [
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    ]
    pod = {
        "serviceAccountName": account,
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": tolerations,
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(name, **app),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": dict(app)},
            "template": {"metadata": {"labels": dict(app)}, "spec": pod},
        },
    }


def _coredns(options: Options) -> list[Object]:
    domain = options.text("cluster-domain")
    corefile = (
        f".:53 {{\n    errors\n    health\n    ready\n    kubernetes {domain} in-addr.arpa ip6.arpa\n"
        "    hosts /etc/coredns/NodeHosts\n    prometheus :9153\n    cache 30\n    loop\n    reload\n"
        "    forward . /etc/resolv.conf\n    import /etc/coredns/custom/*.override\n}\n"
        "import /etc/coredns/custom/*.server\n"
    )
    app = {"k8s-app": "kube-dns"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]
    return [
        _account("coredns"),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta("coredns"), "data": {"Corefile": corefile}},
        _deployment("coredns", app, "rancher/mirrored-coredns-coredns:1.14.1", "coredns", 53),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("kube-dns", **app, **{"kubernetes.io/name": "CoreDNS"}),
            "spec": {"selector": app, "clusterIP": options.text("cluster-dns"), "ports": ports},
        },
    ]


def _local_storage(options: Options) -> list[Object]:
    path = options.text("default-local-storage-path") or "/var/lib/rancher/k3s/storage"
    account = "local-path-provisioner-service-account"
    return [
        _account(account),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta("local-path-config"),
            "data": {
                "config.json": f'{{"nodePathMap": [{{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["{path}"]}}]}}'
            },
        },
        _deployment(
            "local-path-provisioner",
            {"app": "local-path-provisioner"},
            "rancher/local-path-provisioner:v0.0.34",
            account,
        ),
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "local-path",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
    ]


def _metrics_server(_: Options) -> list[Object]:
    app = {"k8s-app": "metrics-server"}
    return [
        _account("metrics-server"),
        _deployment("metrics-server", app, "rancher/mirrored-metrics-server:v0.8.1", "metrics-server", 10250),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _meta("metrics-server", **app),
            "spec": {"selector": app, "ports": [{"name": "https", "port": 443, "targetPort": 10250}]},
        },
    ]


def _runtimes(_: Options) -> list[Object]:
    return [
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name}
        for name in _RUNTIMES
    ]


_COMPONENTS: Mapping[str, Callable[[Options], list[Object]]] = {
    "coredns": _coredns,
    "local-storage": _local_storage,
    "metrics-server": _metrics_server,
    "runtimes": _runtimes,
}


def packaged_manifests(options: Options) -> dict[str, str]:
    """Return the packaged components that are not disabled: file name to YAML."""
    disabled = options.many("disable")
    return {
        f"{name}.yaml": yaml.safe_dump_all(build(options), sort_keys=False)
        for name, build in _COMPONENTS.items()
        if name not in disabled
    }


def not_simulated(options: Options) -> list[str]:
    """Return the packaged components that K3s would run here and the lab does not."""
    return [name for name in ("traefik", "servicelb") if name not in options.many("disable")]
