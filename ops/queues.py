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
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
DRAIN_SECONDS = 300
"""How long the evicted pods may take to end; their grace period is 30 seconds unless they set another."""


def unfinished_workloads(workloads: Iterable[Object]) -> list[str]:
    """The jobs, pods and others that run from a queue or wait in one: `default/job/train`, sorted."""
    return sorted(_describe_owner(one) for one in workloads if not has_condition(one, "Finished"))


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
    left = unfinished_workloads(kube.items(f"{API}/workloads"))
    if left and Override.JOBS not in force:
        raise OperationRefusedError(
            f"platform.queues is off, and Kueue has {len(left)} workload(s) that run or wait: {join_names(left)}; "
            f"wait until they end, or end them: --force {Override.JOBS}"
        )
    names = [queue["metadata"]["name"] for queue in queues]
    with step(f"Kueue's queues are drained: {', '.join(names)}"):
        _set_policy(kube, names, "HoldAndDrain")
        wait_until("the evicted workloads to end", DRAIN_SECONDS, lambda: _is_drained(kube))
    if left:
        console.print(
            f"[yellow]![/] suspended, and nothing starts them again: {join_names(left)}; delete them, or start a Job "
            'with kubectl patch job NAME --patch \'{"spec": {"suspend": false}}\''
        )
    return kube


def _is_drained(kube: Kube) -> bool:
    """Whether no workload is left; those that have given up their place are taken from Kueue.

    Their finalizer would keep Kueue's kinds, and Kueue would make them again while their owner names a queue.
    """
    for one in kube.items(f"{API}/workloads"):
        if not has_condition(one, "Finished") and not has_condition(one, "QuotaReserved"):
            _forget(kube, one)
    if left := unfinished_workloads(kube.items(f"{API}/workloads")):
        raise NotReadyError(f"left: {join_names(left)}")
    return True


def _forget(kube: Kube, workload: Object) -> None:
    """Take the queue's name from what a Workload stands for, and delete the Workload."""
    namespace, name = workload["metadata"]["namespace"], workload["metadata"]["name"]
    for owner in workload["metadata"].get("ownerReferences") or ():
        group = "/api/v1" if owner["apiVersion"] == "v1" else f"/apis/{owner['apiVersion']}"
        path = f"{group}/namespaces/{namespace}/{owner['kind'].lower()}s/{owner['name']}"
        if kube.find(path):
            kube.patch(path, {"metadata": {"labels": {QUEUE_LABEL: None}}})
    path = f"{API}/namespaces/{namespace}/workloads/{name}"
    if kube.delete(path) and kube.find(path):
        kube.patch(path, {"metadata": {"finalizers": None}})


def resume_queues(kube: Kube) -> None:
    """After an update that failed or was declined: the queues that are still there admit work again."""
    _set_policy(kube, [queue["metadata"]["name"] for queue in kube.items(f"{API}/clusterqueues")], "None")


def _set_policy(kube: Kube, names: Iterable[str], policy: str) -> None:
    for name in names:
        kube.patch(f"{API}/clusterqueues/{name}", {"spec": {"stopPolicy": policy}})
