"""Objects of a cluster, as short as tests want to write them."""

from datetime import UTC, datetime
from typing import Any

from lab.controllers.changes import Change, Create, Delete, Patch, PostEvent, merge_patch
from lab.controllers.kinds import KINDS
from lab.controllers.snapshot_cache import ClusterCache, Object, key

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def thing(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    """An object of a known kind; `metadata` in `fields` is merged with its name."""
    metadata: Object = {"name": name, "uid": f"uid-{name}"} | ({"namespace": namespace} if namespace else {})
    metadata |= fields.pop("metadata", {})
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **fields}


def running(called: str, within: str = "", *, kind: str = "Deployment", **marks: str) -> Object:
    """A workload with a ready pod; `marks` are recommended labels without their prefix."""
    labels = {f"app.kubernetes.io/{mark}": value for mark, value in marks.items()}
    status = {"readyReplicas": 1, "numberReady": 1, "desiredNumberScheduled": 1}
    return thing(kind, called, within, metadata={"labels": labels}, spec={}, status=status)


def cache(*objects: Object) -> ClusterCache:
    """A cluster at noon."""
    found = ClusterCache(now=NOW)
    for item in objects:
        found.objects.setdefault(str(item["kind"]), {})[key(item)] = dict(item)
    return found


def after(before: ClusterCache, changes: list[Change]) -> ClusterCache:
    """The cluster when the changes are carried out, and every workload in it has got its pods."""
    for change in changes:
        match change:
            case Create():
                item = {"metadata": {}, **change.object}
                item["metadata"] = {"uid": f"uid-{item['metadata']['name']}", **item["metadata"]}
                if item["kind"] in ("Deployment", "DaemonSet", "StatefulSet"):
                    item["status"] = {"readyReplicas": item["spec"].get("replicas", 1), "numberReady": 1}
                before.objects.setdefault(item["kind"], {})[key(item)] = item
            case Patch():
                store = before.objects.setdefault(change.kind, {})
                at = (change.namespace, change.name)
                store[at] = merge_patch(store[at], change.body)
            case Delete():
                before.objects[change.kind].pop((change.namespace, change.name), None)
            case PostEvent():
                pass
    return before


def notes(changes: list[Change]) -> list[tuple[str, str]]:
    """Reason and message of each Event."""
    return [(change.reason, change.message) for change in changes if isinstance(change, PostEvent)]
