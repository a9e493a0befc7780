"""Workloads that an operator makes from its custom resources."""

from typing import Any

from lab.controllers.changes import owner_references
from lab.controllers.snapshot_cache import Object, get_path, namespace
from lab.pod_security import CONTEXT


def build_workload(
    kind: str,
    at: tuple[str, str],
    cause: Object,
    image: str,
    pod_labels: dict[str, str],
    *,
    replicas: int | None = 1,
    resources: Object | None = None,
    pod: Object | None = None,
    container: Object | None = None,
) -> Object:
    """A Deployment, DaemonSet or StatefulSet of one container, labelled alike in itself, its selector and its pods.

    Args:
        kind: Its kind.
        at: Its namespace and name.
        cause: The custom resource from which it is made and with which it ends.
        image: Of the container.
        pod_labels: The labels.
        replicas: None for a DaemonSet.
        resources: Requests and limits of the container.
        pod: Further fields of the pod, e.g. nodeSelector.
        container: Further fields of the container.
        security: The strictest Pod Security Standard that the real pod meets.
    """
    within, called = at
    main: dict[str, Any] = {
        "name": "main",
        "image": image,
        "resources": resources or {},
        "securityContext": CONTEXT["privileged"],
        **(container or {}),
    }
    body: Object = {
        "selector": {"matchLabels": pod_labels},
        "template": {"metadata": {"labels": pod_labels}, "spec": {"containers": [main], **(pod or {})}},
        **({} if replicas is None else {"replicas": replicas}),
    }
    metadata: Object = {"name": called, "namespace": within, "labels": pod_labels}
    # An owner outside the namespace is allowed only when it belongs to the whole cluster.
    if namespace(cause) in ("", within):
        metadata["ownerReferences"] = owner_references(cause)
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body}


def build_service(called: str, within: str, cause: Object, selector: dict[str, str], ports: dict[str, int]) -> Object:
    """A headless Service of a workload's pods."""
    listed = [{"name": port, "port": number} for port, number in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": called,
            "namespace": within,
            "labels": selector,
            "ownerReferences": owner_references(cause),
        },
        "spec": {"clusterIP": "None", "selector": selector, "ports": listed},
    }


def is_available(node: Object | None) -> bool:
    """Whether all pods that a workload wants are ready, as its own controller has last seen."""
    if node is None or get_path(node, "status", "observedGeneration", default=0) < get_path(
        node, "metadata", "generation", default=0
    ):
        return False
    if node["kind"] == "DaemonSet":
        wanted = get_path(node, "status", "desiredNumberScheduled", default=0)
        return bool(get_path(node, "status", "numberReady", default=0) >= wanted)
    return bool(get_path(node, "status", "readyReplicas", default=0) >= get_path(node, "spec", "replicas", default=1))
