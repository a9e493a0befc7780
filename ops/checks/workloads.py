"""What the workloads of Helm releases wait for, and why: a pod that admission refuses is told in an event only."""

from collections.abc import Mapping

from ops.clients.kubernetes import Kube, Object

ReleaseKey = tuple[str, str]
"""Namespace and name of a Helm release; the name is empty where a workload belongs to none."""
Owner = tuple[str, str, str]
"""Namespace, kind and name of what makes pods."""
KINDS = {
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "Job": "/apis/batch/v1/jobs",
}
REFUSED = "type=Warning,reason=FailedCreate"
"""Events of a controller whose pod the API server did not take."""


def workload_problem(workload: Object) -> str:
    """Why a Deployment, StatefulSet, DaemonSet or Job is not ready or done; empty if it is."""
    kind, status, name = workload["kind"], workload.get("status", {}), workload["metadata"]["name"]
    if kind == "Job":
        for condition in status.get("conditions", []):
            if condition["status"] == "True" and condition["type"] in {"Complete", "Failed"}:
                failed = condition["type"] == "Failed"
                return f"{kind} {name} has failed: {condition.get('message', '')}" if failed else ""
        return f"{kind} {name} is not done"
    if kind == "DaemonSet":
        wanted, have = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        wanted, have = workload["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    return "" if have >= wanted else f"{kind} {name} {have}/{wanted}"


def workload_problems(kube: Kube) -> dict[ReleaseKey, list[str]]:
    """What the workloads of each Helm release, and the Jobs of its hooks, wait for."""
    refusals = pod_refusals(kube)
    problems: dict[ReleaseKey, list[str]] = {}
    for kind, path in KINDS.items():
        for workload in kube.items(path):
            workload["kind"] = kind  # a list leaves out the kind of its items
            namespace, release = key = release_of(workload)
            if (kind == "Job" and not release) or not (problem := workload_problem(workload)):
                continue
            reason = refusals.get((namespace, kind, workload["metadata"]["name"]), "")
            problems.setdefault(key, []).append(f"{problem}: {reason}" if reason else problem)
    return problems


def release_of(workload: Object) -> ReleaseKey:
    """The Helm release that a workload belongs to.

    Helm annotates what it installs, but not hooks (pkg/action of Helm 3.18: `setMetadataVisitor` visits the manifest only).
    Jobs of hooks are known by the label that charts give them: those of cert-manager and the GPU Operator, by the facts.
    """
    meta = workload["metadata"]
    annotations, labels = meta.get("annotations", {}), meta.get("labels", {})
    name = annotations.get("meta.helm.sh/release-name", "")
    if not name and "helm.sh/hook" in annotations:
        name = labels.get("app.kubernetes.io/instance", "") or labels.get("release", "")
    return meta["namespace"], name


def pod_refusals(kube: Kube) -> Mapping[Owner, str]:
    """The newest refusal of a pod by what makes it; a ReplicaSet's counts for its Deployment."""
    newest: dict[Owner, str] = {}
    events = kube.items("/api/v1/events", fieldSelector=REFUSED)
    for event in sorted(events, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or ""):
        owner = event["involvedObject"]
        kind, name = owner["kind"], owner["name"]
        if kind == "ReplicaSet":
            kind, name = "Deployment", name.rpartition("-")[0]
        newest[owner["namespace"], kind, name] = event["message"]
    return newest
