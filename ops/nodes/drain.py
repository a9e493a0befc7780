"""Drains a node by the eviction API, and reports which pods block it and why."""

import time

import httpx

from config.errors import LyceumError
from ops.clients.kubernetes import Kube, Object
from ops.console import print_detail
from ops.nodes.facts import controller_kind, evictable_pods, is_ready, namespaced_name, owner_references
from ops.wait import API_ERRORS, REPORT_SECONDS, transient_reason

DEFAULT_MINUTES = 5
"""How long a drain waits for disruption budgets and for pods to terminate, by default."""
OS_UPGRADE_ANNOTATION = "lyceum/os-upgrade"
"""Annotation of a Node whose packages are being upgraded (ops/upgrade/node_upgrade.py); uncordoning removes it."""


class DrainTimeoutError(LyceumError):
    """The drain did not finish in time; the text lists each remaining pod and what blocks it."""


def is_cordoned(node: Object) -> bool:
    """Whether the node is unschedulable."""
    return bool(node["spec"].get("unschedulable"))


def cordon(kube: Kube, name: str) -> None:
    """Marks the node unschedulable."""
    kube.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})


def uncordon(kube: Kube, name: str) -> None:
    """Makes the node schedulable again."""
    change = {"metadata": {"annotations": {OS_UPGRADE_ANNOTATION: None}}, "spec": {"unschedulable": None}}
    kube.patch(f"/api/v1/nodes/{name}", change)


def list_remaining_pods(kube: Kube, name: str) -> list[Object]:
    """Pods that are still to be evicted; on a node that is not Ready, pods that are being deleted count as gone."""
    pods = evictable_pods(kube.items("/api/v1/pods", fieldSelector=f"spec.nodeName={name}"))
    node = kube.find(f"/api/v1/nodes/{name}")
    if node is not None and is_ready(node):
        return pods
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def drain_node(kube: Kube, name: str, seconds: float, *, ignore_budgets: bool = False, every: float = 1.0) -> None:
    """Evicts all pods that can be evicted, and waits until they are gone.

    Args:
        kube: The cluster.
        name: The node.
        seconds: How long at most.
        ignore_budgets: Deletes pods instead of evicting them, so that disruption budgets do not count.
        every: Seconds between two attempts.

    Raises:
        DrainTimeoutError: pods remain after `seconds`; a second call continues.
    """
    start = reported = time.monotonic()
    while True:
        try:
            pods = list_remaining_pods(kube, name)
            if not pods:
                return
            reasons = [_evict(kube, pod, ignore_budgets=ignore_budgets) for pod in pods]
        except API_ERRORS as error:
            if not (why := transient_reason(error)):
                raise
            pods, reasons = [], [f"the API does not answer: {why}"]
        now = time.monotonic()
        if now - start >= seconds:
            details = "\n".join(f"  {reason}" for reason in reasons)
            raise DrainTimeoutError(f"{name} is not drained after {seconds:.0f} s:\n{details}")
        if now - reported >= REPORT_SECONDS:
            reported = now
            print_detail(f"{len(reasons)} pod(s) remain after {now - start:.0f} s: {reasons[0]}")
        time.sleep(every)


def _evict(kube: Kube, pod: Object, *, ignore_budgets: bool) -> str:
    """Evicts one pod; returns why it is still there."""
    if pod["metadata"].get("deletionTimestamp"):
        finalizers = pod["metadata"].get("finalizers")
        waits = f"finalizer {', '.join(finalizers)}" if finalizers else "its containers to stop"
        return f"{describe_pod(pod)}: waiting for {waits}"
    meta = pod["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
    if ignore_budgets:
        kube.delete(path)
        return f"{describe_pod(pod)}: deleted"
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
    }
    answer = kube.post(f"{path}/eviction", body)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return f"{describe_pod(pod)}: {describe_budgets(pod, kube.items('/apis/policy/v1/poddisruptionbudgets'))}"
    if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
        return f"{describe_pod(pod)}: {answer.status_code} {answer.text[:200]}"
    return f"{describe_pod(pod)}: evicted"


def describe_pod(pod: Object) -> str:
    """A pod with its controller: `namespace/name (ReplicaSet web)`."""
    owner = next((f"{one['kind']} {one['name']}" for one in owner_references(pod) if one.get("controller")), "")
    return namespaced_name(pod) + (f" ({owner})" if owner else "")


def describe_budgets(pod: Object, budgets: list[Object]) -> str:
    """Which disruption budgets block a pod's eviction, and what they allow."""
    matching = [budget for budget in budgets if _selects(budget, pod)]
    if not matching:
        return "the API answers 429: try again later"
    details = []
    for budget in matching:
        status = budget.get("status", {})
        details.append(
            f"budget {namespaced_name(budget)} allows {status.get('disruptionsAllowed', 0)} disruptions "
            f"({status.get('currentHealthy', 0)} healthy, {status.get('desiredHealthy', 0)} required)"
        )
    remedy = "scale its controller up" if controller_kind(pod) else "ask its user to stop it"
    return f"{'; '.join(details)}; {remedy}, or ignore the budget with --force budgets"


def _selects(budget: Object, pod: Object) -> bool:
    if budget["metadata"]["namespace"] != pod["metadata"]["namespace"]:
        return False
    labels = pod["metadata"].get("labels") or {}
    selector = budget["spec"].get("selector") or {}
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _matches(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _matches(expression: dict[str, object], labels: dict[str, str]) -> bool:
    value, values = labels.get(str(expression["key"])), expression.get("values") or []
    assert isinstance(values, list)  # noqa: S101 - the API's schema says so
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
