"""The StatefulSets and Services that the Prometheus operator makes from Prometheus and Alertmanager objects."""

from collections.abc import Iterator
from functools import partial

from lab.controllers.changes import Change, decide_each, ensure_fields, ensure_object, set_condition
from lab.controllers.pods import build_service, build_workload, is_available
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path, name, namespace

__all__ = ["decide"]

INSTANCES = {"Prometheus": ("prometheus", {"http-web": 9090}), "Alertmanager": ("alertmanager", {"http-web": 9093})}
"""Kind -> prefix of the operator's object names, and ports of its governing Service."""

PASSED_TO_POD = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName")


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Creates the workloads of each instance and reports whether they are available."""
    if cache.operator(component="prometheus-operator") is None:
        return
    for kind, (prefix, ports) in INSTANCES.items():
        yield from decide_each(cache.all(kind), partial(_run_instance, cache, prefix, ports))


def _run_instance(cache: ClusterCache, prefix: str, ports: dict[str, int], instance: Object) -> Iterator[Change]:
    called, within = f"{prefix}-{name(instance)}", namespace(instance)
    selector = {"app.kubernetes.io/name": prefix, "app.kubernetes.io/instance": name(instance)}
    governing = build_service(f"{prefix}-operated", within, instance, {"app.kubernetes.io/name": prefix}, ports)
    yield from ensure_object(cache, governing)
    yield from ensure_object(cache, _build_stateful_set(instance, prefix, called, selector))
    done = is_available(cache.get("StatefulSet", called, within))
    message = "" if done else f"StatefulSet {called}: pods are not ready"
    conditions = set_condition(instance, cache, "Available", (done, "" if done else "NoPodReady", message))
    replicas = get_path(instance, "spec", "replicas", default=1)
    status = {"conditions": conditions, "replicas": replicas, "availableReplicas": replicas if done else 0}
    yield from ensure_fields(instance, {"status": status}, "status")


def _build_stateful_set(instance: Object, prefix: str, called: str, selector: dict[str, str]) -> Object:
    spec = instance["spec"]
    extra: Object = {"serviceName": f"{prefix}-operated"}
    template = get_path(instance, "spec", "storage", "volumeClaimTemplate")
    if template:
        claim = {"metadata": {"name": f"{called}-db", **(template.get("metadata") or {})}, "spec": template["spec"]}
        extra["volumeClaimTemplates"] = [claim]
    return build_workload(
        "StatefulSet",
        (namespace(instance), called),
        instance,
        spec.get("image") or f"quay.io/prometheus/{prefix}",
        selector,
        replicas=spec.get("replicas", 1),
        resources=spec.get("resources"),
        pod={step: spec[step] for step in PASSED_TO_POD if spec.get(step)},
        spec=extra,
        security="restricted",
    )
