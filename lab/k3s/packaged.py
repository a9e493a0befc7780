"""K3s's packaged components: same names, and as much of them as the lab needs; CoreDNS so that it can really run.

Left out, because nothing could stand behind them: Traefik and its Helm chart, ServiceLB's pods, and the APIService of
metrics-server, which without a backend would stall discovery and the deletion of namespaces.
"""

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from lab.k3s.config import Options

__all__ = ["COREDNS_IMAGE", "not_simulated", "packaged_manifests"]

Object = dict[str, Any]

COREDNS_IMAGE = "rancher/mirrored-coredns-coredns:1.14.1"

_RUNTIMES = ("crun", "lunatic", "nvidia", "nvidia-cdi", "nvidia-experimental", "slight", "spin", "wasmedge", "wasmer",
             "wasmtime", "wws")  # fmt: skip


def _meta(name: str, **labels: str) -> Object:
    return {"name": name, "namespace": "kube-system", **({"labels": labels} if labels else {})}


def _account(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(name)}


def _deployment(
    name: str,
    app: Mapping[str, str],
    image: str,
    account: str,
    port: int | None = None,
    *,
    container_fields: Object | None = None,
    pod_fields: Object | None = None,
) -> Object:
    container: Object = {
        "name": name,
        "image": image,
        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
        **({"ports": [{"containerPort": port}]} if port else {}),
        **(container_fields or {}),
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
        **(pod_fields or {}),
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


def _grant(role: str, account: str, rules: list[Object]) -> list[Object]:
    """A ClusterRole, and its binding to an account of kube-system."""
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "kube-system"}],
        },
    ]


_COREFILE = """\
.:53 {
    errors
    health
    ready
    kubernetes DOMAIN in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
        ttl 60
        reload 15s
        fallthrough
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
"""

_COREDNS_RULES: list[Object] = [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
]

_COREDNS_CONTAINER: Object = {
    "args": ["-conf", "/etc/coredns/Corefile"],
    "ports": [
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
    ],
    "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 60},
    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
    "volumeMounts": [
        {"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True},
        {"name": "custom-config-volume", "mountPath": "/etc/coredns/custom", "readOnly": True},
    ],
}

_COREDNS_VOLUMES: list[Object] = [
    {"name": "config-volume", "configMap": {"name": "coredns"}},
    {"name": "custom-config-volume", "configMap": {"name": "coredns-custom", "optional": True}},
]


def _coredns(options: Options) -> list[Object]:
    domain = options.text("cluster-domain")
    corefile = _COREFILE.replace("DOMAIN", domain)
    app = {"k8s-app": "kube-dns"}
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]
    return [
        _account("coredns"),
        *_grant("system:coredns", "coredns", _COREDNS_RULES),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _meta("coredns"),
            # K3s's own controller writes the nodes' names into NodeHosts; nothing in the lab asks for them.
            "data": {"Corefile": corefile, "NodeHosts": ""},
        },
        _deployment(
            "coredns",
            app,
            COREDNS_IMAGE,
            "coredns",
            container_fields=_COREDNS_CONTAINER,
            pod_fields={"dnsPolicy": "Default", "volumes": _COREDNS_VOLUMES},
        ),
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
