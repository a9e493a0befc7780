"""Admission webhooks whose server is a simulated pod: the API server does not call them.

Only real charts bring such webhooks (`lab up --charts`); in a campus with real pods each call to one would fail.
"""

from collections.abc import Iterator

from lab.controllers.changes import Change, ensure_fields
from lab.controllers.snapshot_cache import IMAGES, ClusterCache, Object, get_path, namespace

KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet")
NEVER = {"name": "lab.lyceum-simulated", "expression": "false"}


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Gives these webhooks a condition that no object meets; where no pod is real, the API server calls no webhook."""
    if cache.get("ConfigMap", IMAGES, "kube-system") is None:
        return
    for kind in KINDS:
        for configuration in cache.all(kind):
            webhooks = configuration.get("webhooks", [])
            wanted = [hook | {"matchConditions": [NEVER]} if _is_simulated(hook, cache) else hook for hook in webhooks]
            yield from ensure_fields(configuration, {"webhooks": wanted})


def _is_simulated(webhook: Object, cache: ClusterCache) -> bool:
    at = get_path(webhook, "clientConfig", "service", default={})
    service = cache.get("Service", at.get("name", ""), at.get("namespace", ""))
    selector = get_path(service or {}, "spec", "selector", default={})
    servers = [
        workload
        for kind in WORKLOADS
        for workload in cache.all(kind)
        if selector
        and namespace(workload) == at["namespace"]
        and selector.items() <= get_path(workload, "spec", "template", "metadata", "labels", default={}).items()
    ]
    return bool(servers) and not any(cache.is_real(workload) for workload in servers)
