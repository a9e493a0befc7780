"""Whether Kueue's queues are active. Admission itself is not played: that takes the real controller."""

from collections.abc import Iterator

from lab.controllers.changes import Change, ConditionState, ensure_fields, set_condition
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path, name

__all__ = ["decide"]


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Sets the condition Active of ClusterQueues and LocalQueues."""
    if cache.workload("Deployment", "kueue-controller-manager") is None:
        return
    active: set[str] = set()
    for queue in cache.all("ClusterQueue"):
        verdict = _queue_state(cache, queue)
        if verdict[0]:
            active.add(name(queue))
        conditions = set_condition(queue, cache, "Active", verdict)
        yield from ensure_fields(queue, {"status": {"conditions": conditions}}, "status")
    for queue in cache.all("LocalQueue"):
        wanted = get_path(queue, "spec", "clusterQueue", default="")
        if wanted in active:
            verdict = (True, "Ready", "Can submit new workloads to localQueue")
        else:
            verdict = (False, "ClusterQueueIsInactive", "Can't submit new workloads to clusterQueue")
        conditions = set_condition(queue, cache, "Active", verdict)
        yield from ensure_fields(queue, {"status": {"conditions": conditions}}, "status")


def _queue_state(cache: ClusterCache, queue: Object) -> ConditionState:
    policy = get_path(queue, "spec", "stopPolicy", default="None")
    if policy != "None":
        return False, "Stopped", "Can't admit new workloads: is stopped."
    groups = get_path(queue, "spec", "resourceGroups", default=[])
    flavors = [flavor["name"] for group in groups for flavor in group.get("flavors", [])]
    missing = [flavor for flavor in flavors if cache.get("ResourceFlavor", flavor) is None]
    if missing:
        return (
            False,
            "FlavorNotFound",
            f"Can't admit new workloads: references missing ResourceFlavor(s): {','.join(missing)}.",
        )
    return True, "Ready", "Can admit new workloads"
