"""Addresses in the status of Ingresses, as an ingress controller publishes those of its own Service."""

from collections.abc import Iterator

from lab.controllers.changes import Change, ensure_fields
from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path, labels, name

__all__ = ["decide"]

CONTROLLER, CHART = "k8s.io/ingress-nginx", "ingress-nginx"
"""Controller of an IngressClass, and the name of the chart that serves it."""


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Publishes the address of each running controller in the Ingresses of its classes."""
    classes = {name(item): item for item in cache.all("IngressClass")}
    default = next((item for item in classes.values() if _is_default(item)), None)
    for ingress in cache.all("Ingress"):
        called = get_path(ingress, "spec", "ingressClassName")
        class_ = classes.get(called) if called else default
        published = _published_addresses(cache, class_) if class_ else None
        if published:
            yield from ensure_fields(ingress, {"status": {"loadBalancer": {"ingress": published}}}, "status")


def _is_default(class_: Object) -> bool:
    return annotations(class_).get("ingressclass.kubernetes.io/is-default-class") == "true"


def _published_addresses(cache: ClusterCache, class_: Object) -> list[Object] | None:
    if get_path(class_, "spec", "controller", default="") != CONTROLLER:
        return None
    if cache.operator(name=CHART, component="controller") is None:
        return None
    for service in cache.all("Service"):
        addresses = get_path(service, "status", "loadBalancer", "ingress", default=[])
        if labels(service).get("app.kubernetes.io/name") == CHART and addresses:
            return [{"ip": item["ip"]} for item in addresses if "ip" in item]
    return None
