"""The StatefulSets and Services that the Prometheus operator makes from Prometheus and Alertmanager objects."""

from collections.abc import Iterator
from functools import partial

from lab.controllers.changes import Change, condition, each, ensure, made
from lab.controllers.pods import available, service, workload
from lab.controllers.snapshot_cache import Object, World, name, namespace, path

__all__ = ["decide"]

INSTANCES = {"Prometheus": ("prometheus", {"http-web": 9090}), "Alertmanager": ("alertmanager", {"http-web": 9093})}
"""Kind -> prefix of the operator's object names, and ports of its governing Service."""

PASSED = ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName")


def decide(world: World) -> Iterator[Change]:
    """Makes the workloads of each instance and reports whether they are available."""
    if world.operator(component="prometheus-operator") is None:
        return
    for kind, (prefix, ports) in INSTANCES.items():
        yield from each(world.all(kind), partial(_instance, world, prefix, ports))


def _instance(world: World, prefix: str, ports: dict[str, int], instance: Object) -> Iterator[Change]:
    called, within = f"{prefix}-{name(instance)}", namespace(instance)
    selector = {"app.kubernetes.io/name": prefix, "app.kubernetes.io/instance": name(instance)}
    governing = service(f"{prefix}-operated", within, instance, {"app.kubernetes.io/name": prefix}, ports)
    yield from made(world, governing)
    yield from made(world, _stateful_set(instance, prefix, called, selector))
    done = available(world.get("StatefulSet", called, within))
    message = "" if done else f"StatefulSet {called}: pods are not ready"
    conditions = condition(instance, world, "Available", (done, "" if done else "NoPodReady", message))
    replicas = path(instance, "spec", "replicas", default=1)
    status = {"conditions": conditions, "replicas": replicas, "availableReplicas": replicas if done else 0}
    yield from ensure(instance, {"status": status}, "status")


def _stateful_set(instance: Object, prefix: str, called: str, selector: dict[str, str]) -> Object:
    spec = instance["spec"]
    extra: Object = {"serviceName": f"{prefix}-operated"}
    template = path(instance, "spec", "storage", "volumeClaimTemplate")
    if template:
        claim = {"metadata": {"name": f"{called}-db", **(template.get("metadata") or {})}, "spec": template["spec"]}
        extra["volumeClaimTemplates"] = [claim]
    return workload(
        "StatefulSet",
        (namespace(instance), called),
        instance,
        spec.get("image") or f"quay.io/prometheus/{prefix}",
        selector,
        replicas=spec.get("replicas", 1),
        resources=spec.get("resources"),
        pod={step: spec[step] for step in PASSED if spec.get(step)},
        spec=extra,
        security="restricted",
    )
