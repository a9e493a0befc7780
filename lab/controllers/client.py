"""Lists, watches and writes of the stand-ins: kinds and changes as calls of the Kubernetes API."""

from collections.abc import AsyncIterator

from lab.controllers.changes import Change, Create, Delete, Patch, PostEvent, format_time
from lab.controllers.kinds import KINDS
from lab.controllers.snapshot_cache import ClusterCache, Object, name, namespace, uid
from lab.kubernetes import KubeClient, KubernetesError

WATCH_SECONDS = 300
"""How long one watch lasts; then the API server ends it and a new one begins where it stopped."""

NOT_FOUND, CONFLICT = 404, 409


async def list_objects(kube: KubeClient, kind: str) -> tuple[list[Object], str]:
    """All objects of a kind, and the version to watch from."""
    place = KINDS[kind]
    body = await kube.call("GET", place.path())
    typed = {"apiVersion": place.api_version, "kind": kind}
    return [typed | item for item in body.get("items") or []], body["metadata"]["resourceVersion"]


async def watch_objects(kube: KubeClient, kind: str, version: str) -> AsyncIterator[tuple[str, Object]]:
    """Yields ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object, or ``BOOKMARK``, until the server ends it."""
    place = KINDS[kind]
    events = kube.watch(
        place.path(), resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds=str(WATCH_SECONDS)
    )
    async for event in events:
        yield event["type"], event["object"]


async def apply_change(kube: KubeClient, change: Change, cache: ClusterCache) -> Object | None:
    """Carries out a change.

    Returns:
        The object as it is now, or None where nothing is left to know.

    Raises:
        KubernetesError: The API server refuses; what has meanwhile been deleted or created is not an error.
    """
    try:
        match change:
            case Patch():
                path = KINDS[change.kind].path(change.namespace, change.name)
                subresource = f"/{change.subresource}" if change.subresource else ""
                return await kube.patch(f"{path}{subresource}", change.body, "merge-patch")
            case Create():
                place = KINDS[str(change.object["kind"])]
                return await kube.call("POST", place.path(namespace(change.object)), change.object)
            case Delete():
                await kube.call("DELETE", KINDS[change.kind].path(change.namespace, change.name))
            case PostEvent():
                event = _build_event(change, cache)
                await kube.call("POST", KINDS["Event"].path(namespace(event)), event)
    except KubernetesError as error:
        if error.status not in (NOT_FOUND, CONFLICT):
            raise
    return None


def _build_event(change: PostEvent, cache: ClusterCache) -> Object:
    about, moment = change.about, format_time(cache.now)
    within = namespace(about) or "default"
    reference = {"apiVersion": about["apiVersion"], "kind": about["kind"], "name": name(about), "uid": uid(about)}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name(about)[:40]}.", "namespace": within},
        "involvedObject": reference | ({"namespace": namespace(about)} if namespace(about) else {}),
        "reason": change.reason,
        "message": change.message,
        "type": "Warning" if change.warning else "Normal",
        "source": {"component": "lyceum-lab"},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
