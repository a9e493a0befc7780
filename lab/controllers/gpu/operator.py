"""The GPU Operator: its DaemonSets, the labels by which they find their nodes, and the state of the ClusterPolicy."""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.controllers.changes import Change, ensure_fields, ensure_object, owner_references, set_condition
from lab.controllers.gpu import telemetry
from lab.controllers.gpu.cards import NVIDIA, list_cards
from lab.controllers.pods import build_service, build_workload, is_available
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path, labels, name, namespace

PRESENT = f"feature.node.kubernetes.io/pci-{NVIDIA}.present"


DEVICE_PLUGIN = "nvidia-device-plugin-daemonset"
DRIVER = "nvidia-driver-daemonset"


@dataclass(frozen=True)
class Operand:
    """One DaemonSet of the operator."""

    daemonset: str
    deploy: str
    """Last part of the node label ``nvidia.com/gpu.deploy.<...>`` that selects its nodes."""
    switch: str | None
    """Section of the ClusterPolicy whose ``enabled`` decides; None for always."""
    image: str
    """Section of the ClusterPolicy that names repository, image and version."""


OPERANDS = (
    Operand(DRIVER, "driver", "driver", "driver"),
    Operand("nvidia-container-toolkit-daemonset", "container-toolkit", "toolkit", "toolkit"),
    Operand("nvidia-operator-validator", "operator-validator", None, "validator"),
    Operand(DEVICE_PLUGIN, "device-plugin", "devicePlugin", "devicePlugin"),
    Operand("gpu-feature-discovery", "gpu-feature-discovery", "gfd", "gfd"),
    Operand("nvidia-mig-manager", "mig-manager", "migManager", "migManager"),
    Operand("nvidia-dcgm-exporter", "dcgm-exporter", "dcgmExporter", "dcgmExporter"),
)


def gpu_nodes(cache: ClusterCache) -> list[Object]:
    """Nodes on which node feature discovery has found an NVIDIA card, and which still have one."""
    return [node for node in cache.all("Node") if labels(node).get(PRESENT) == "true" and list_cards(node)]


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Deploys what the ClusterPolicy asks for and says when all of it is ready."""
    running, policies = cache.operator(component="gpu-operator"), cache.all("ClusterPolicy")
    if running is None or not policies:
        return
    cluster_policy, home = policies[0], namespace(running)
    spec = cluster_policy["spec"]
    wanted = [operand for operand in OPERANDS if operand.switch is None or _is_enabled(spec, operand.switch)]
    nodes = gpu_nodes(cache)
    for node in nodes:
        yield from ensure_fields(node, {"metadata": {"labels": _deploy_labels(node, spec, wanted)}})
    if _is_enabled(spec, "dcgmExporter"):
        yield from _deploy_metrics(cache, cluster_policy, home, nodes)
    for operand in wanted if nodes else ():
        yield from ensure_object(cache, _build_daemonset(operand, spec, cluster_policy, home))
    # With the NRI plugin pods need no runtime class; without it, pods that want a GPU name it.
    if not get_path(spec, "cdi", "nriPluginEnabled", default=False):
        metadata = {"name": "nvidia", "ownerReferences": owner_references(cluster_policy)}
        runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": metadata, "handler": "nvidia"}
        yield from ensure_object(cache, runtime)
    yield from _report_state(cache, cluster_policy, home, wanted)


def _is_enabled(spec: Object, switch: str) -> bool:
    return bool(get_path(spec, switch, "enabled", default=True))


def _deploy_labels(node: Object, spec: Object, wanted: list[Operand]) -> dict[str, str]:
    found = {"nvidia.com/gpu.present": "true"}
    capable = any(card.mig for card in list_cards(node))
    for operand in wanted:
        if operand.deploy != "mig-manager" or capable:
            found[f"nvidia.com/gpu.deploy.{operand.deploy}"] = "true"
    default = get_path(spec, "migManager", "config", "default", default="")
    if capable and default and _is_enabled(spec, "migManager") and "nvidia.com/mig.config" not in labels(node):
        found["nvidia.com/mig.config"] = default
    return found


def _build_daemonset(operand: Operand, spec: Object, cluster_policy: Object, home: str) -> Object:
    section, common = spec.get(operand.image) or {}, spec.get("daemonsets") or {}
    image = f"{section.get('repository', 'nvcr.io/nvidia')}/{section.get('image', 'gpu-operator')}"
    pod: Object = {"nodeSelector": {f"nvidia.com/gpu.deploy.{operand.deploy}": "true"}}
    pod |= {step: common[step] for step in ("tolerations", "priorityClassName") if common.get(step)}
    marks = {"app": operand.daemonset}
    exporter = operand.switch == "dcgmExporter"
    pod |= telemetry.pod_fields() if exporter else {}
    return build_workload(
        "DaemonSet",
        (home, operand.daemonset),
        cluster_policy,
        f"{image}:{section.get('version', 'v26.7.0')}",
        marks,
        replicas=None,
        resources=section.get("resources"),
        pod=pod,
        container=telemetry.container_fields() if exporter else None,
    )


def _deploy_metrics(cache: ClusterCache, cluster_policy: Object, home: str, nodes: list[Object]) -> Iterator[Change]:
    """The exporter's Service, what its pods say, and a ServiceMonitor where Prometheus can read it."""
    marks = {"app": "nvidia-dcgm-exporter"}
    listed = get_path(cluster_policy, "spec", "dcgmExporter", "config", "name", default="")
    fields = get_path(cache.get("ConfigMap", listed, home) or {}, "data", "dcgm-metrics.csv", default="")
    texts = {name(node): telemetry.describe_cards(node, fields) for node in nodes}
    metadata: Object = {
        "name": telemetry.SERIES,
        "namespace": home,
        "ownerReferences": owner_references(cluster_policy),
    }
    data = {"httpd.conf": telemetry.WEB_SERVER, **texts}
    yield from ensure_object(cache, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    yield from ensure_object(
        cache, build_service("nvidia-dcgm-exporter", home, cluster_policy, marks, {"gpu-metrics": 9400})
    )
    asked = get_path(cluster_policy, "spec", "dcgmExporter", "serviceMonitor", "enabled", default=False)
    if asked and cache.serves("ServiceMonitor"):
        metadata = {**metadata, "name": "nvidia-dcgm-exporter", "labels": marks}
        spec = {"selector": {"matchLabels": marks}, "endpoints": [{"port": "gpu-metrics", "path": "/metrics"}]}
        monitor = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata,
            "spec": spec,
        }
        yield from ensure_object(cache, monitor)


def _report_state(cache: ClusterCache, cluster_policy: Object, home: str, wanted: list[Operand]) -> Iterator[Change]:
    """Upstream's three cases: no node features known, no GPU in the cluster, and all operands ready."""
    features = any(
        label.startswith("feature.node.kubernetes.io/") for node in cache.all("Node") for label in labels(node)
    )
    sets = [(operand.daemonset, cache.get("DaemonSet", operand.daemonset, home)) for operand in wanted]
    waiting = [called for called, item in sets if not is_available(item)]
    if not features:
        verdict = (False, "NFDLabelsMissing", "No NFD labels found")
    elif not gpu_nodes(cache):
        verdict = (True, "NoGPUNodes", "No GPU node found, watching for new nodes to join the cluster")
    elif waiting:
        verdict = (False, "OperandNotReady", f"ClusterPolicy is not ready, states not ready: {waiting}")
    else:
        verdict = (True, "Reconciled", "ClusterPolicy is ready as all resources have been successfully reconciled")
    conditions = set_condition(cluster_policy, cache, "Ready", verdict)
    status = {"state": "ready" if verdict[0] else "notReady", "namespace": home, "conditions": conditions}
    yield from ensure_fields(cluster_policy, {"status": status}, "status")
