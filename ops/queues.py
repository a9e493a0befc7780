"""Switching Kueue off: a queue ends only when nothing runs from it (finalizer kueue.x-k8s.io/resource-in-use)."""

from collections.abc import Collection, Iterable

from config.errors import OperationRefusedError
from config.layers import record_of
from ops.clients.kubernetes import MOVE_SECONDS, Kube, Object
from ops.console import console, step
from ops.engine.engine import Engine
from ops.nodes.blockers import Override, join_names
from ops.nodes.facts import has_condition, namespaced_name
from ops.wait import NotReadyError, wait_until

API = "/apis/kueue.x-k8s.io/v1beta2"
DRAIN_SECONDS = 300
"""How long the evicted pods may take to end; their grace period is 30 seconds unless they set another."""


def running_workloads(workloads: Iterable[Object]) -> list[str]:
    """The jobs, pods and others that have quota and are not finished: `default/job/train`, sorted."""
    return sorted(
        _describe_owner(one)
        for one in workloads
        if has_condition(one, "QuotaReserved") and not has_condition(one, "Finished")
    )


def _describe_owner(workload: Object) -> str:
    """The object that a Workload stands for, which is the name that people know."""
    owner = next(iter(workload["metadata"].get("ownerReferences") or ()), None)
    if owner is None:
        return namespaced_name(workload)
    return f"{workload['metadata']['namespace']}/{owner['kind'].lower()}/{owner['name']}"


def drain_queues(engine: Engine, force: Collection[Override]) -> Kube | None:
    """Before Kueue is removed: ends what it runs if that was asked for, so that its queues can be deleted.

    Returns:
        The cluster whose queues were stopped; None where Kueue stays, or is not there.

    Raises:
        OperationRefusedError: work runs from a queue, and `jobs` was not given up; nothing was changed.
        WaitTimeoutError: what was evicted does not end; the queues stay stopped.
    """
    if record_of("queues").is_on(engine.stack.site):
        return None
    kube = Kube.connect(engine, MOVE_SECONDS)
    if kube is None or not (queues := kube.items(f"{API}/clusterqueues")):
        return None
    if (running := running_workloads(kube.items(f"{API}/workloads"))) and Override.JOBS not in force:
        raise OperationRefusedError(
            f"platform.queues is off, and Kueue has given {len(running)} workload(s) their place: {join_names(running)}; "
            f"wait until they end, or end them: --force {Override.JOBS}"
        )
    names = [queue["metadata"]["name"] for queue in queues]
    with step(f"Kueue's queues are drained: {', '.join(names)}"):
        _set_policy(kube, names, "HoldAndDrain")
        wait_until("the evicted workloads to end", DRAIN_SECONDS, lambda: _is_drained(kube))
    if running:
        console.print(
            f"[yellow]![/] suspended, and nothing starts them again: {join_names(running)}; delete them, or start a Job "
            'with kubectl patch job NAME --patch \'{"spec": {"suspend": false}}\''
        )
    return kube


def _is_drained(kube: Kube) -> bool:
    if left := running_workloads(kube.items(f"{API}/workloads")):
        raise NotReadyError(f"running: {join_names(left)}")
    return True


def resume_queues(kube: Kube) -> None:
    """After an update that failed or was declined: the queues that are still there admit work again."""
    _set_policy(kube, [queue["metadata"]["name"] for queue in kube.items(f"{API}/clusterqueues")], "None")


def _set_policy(kube: Kube, names: Iterable[str], policy: str) -> None:
    for name in names:
        kube.patch(f"{API}/clusterqueues/{name}", {"spec": {"stopPolicy": policy}})
