"""Whether Kueue's queues are active. Admission itself is not played: that takes the real controller."""

from collections.abc import Iterator

from lab.controllers.changes import Change, Verdict, condition, ensure
from lab.controllers.snapshot_cache import Object, World, name, path

__all__ = ["decide"]


def decide(world: World) -> Iterator[Change]:
    """Sets the condition Active of ClusterQueues and LocalQueues."""
    if world.workload("Deployment", "kueue-controller-manager") is None:
        return
    active: set[str] = set()
    for queue in world.all("ClusterQueue"):
        verdict = _judge(world, queue)
        if verdict[0]:
            active.add(name(queue))
        conditions = condition(queue, world, "Active", verdict)
        yield from ensure(queue, {"status": {"conditions": conditions}}, "status")
    for queue in world.all("LocalQueue"):
        wanted = path(queue, "spec", "clusterQueue", default="")
        if wanted in active:
            verdict = (True, "Ready", "Can submit new workloads to localQueue")
        else:
            verdict = (False, "ClusterQueueIsInactive", "Can't submit new workloads to clusterQueue")
        conditions = condition(queue, world, "Active", verdict)
        yield from ensure(queue, {"status": {"conditions": conditions}}, "status")


def _judge(world: World, queue: Object) -> Verdict:
    policy = path(queue, "spec", "stopPolicy", default="None")
    if policy != "None":
        return False, "Stopped", "Can't admit new workloads: is stopped."
    groups = path(queue, "spec", "resourceGroups", default=[])
    flavors = [flavor["name"] for group in groups for flavor in group.get("flavors", [])]
    missing = [flavor for flavor in flavors if world.get("ResourceFlavor", flavor) is None]
    if missing:
        return (
            False,
            "FlavorNotFound",
            f"Can't admit new workloads: references missing ResourceFlavor(s): {','.join(missing)}.",
        )
    return True, "Ready", "Can admit new workloads"
