"""What a stand-in wants changed, as data; the runner applies it.

The functions here yield nothing when the cluster already is as wanted, so deciding again and again is free.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path, name, namespace, uid

MADE_FROM = "lab.lyceum/made-from"
"""Annotation: digest of what an object was made from; when it differs, the object is brought up to date."""


@dataclass(frozen=True)
class Patch:
    """A JSON merge patch of one object."""

    kind: str
    namespace: str
    name: str
    body: Object
    subresource: Literal["", "status"] = ""


@dataclass(frozen=True)
class Create:
    """A new object; one that exists already is left as it is."""

    object: Object


@dataclass(frozen=True)
class Delete:
    """The end of an object."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class PostEvent:
    """An Event about an object; the same note is sent only once."""

    about: Object
    reason: str
    message: str
    warning: bool = False


Change = Patch | Create | Delete | PostEvent


def merge_patch(target: Any, patch: Any) -> Any:
    """What a JSON merge patch (RFC 7386) makes of a value."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for step, value in patch.items():
        if value is None:
            result.pop(step, None)
        else:
            result[step] = merge_patch(result.get(step), value)
    return result


def ensure_fields(node: Object, body: Object, subresource: Literal["", "status"] = "") -> Iterator[Patch]:
    """Yields the patch unless it would change nothing."""
    if merge_patch(node, body) != node:
        yield Patch(str(node["kind"]), namespace(node), name(node), body, subresource)


def ensure_object(cache: ClusterCache, wanted: Object) -> Iterator[Create | Patch]:
    """Creates an object that is missing, and replaces the spec of one that was made from something else."""
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    wanted = merge_patch(wanted, {"metadata": {"annotations": {MADE_FROM: digest}}})
    there = cache.get(str(wanted["kind"]), name(wanted), namespace(wanted))
    if there is None:
        yield Create(wanted)
    elif annotations(there).get(MADE_FROM) != digest:
        yield Patch(str(wanted["kind"]), namespace(wanted), name(wanted), wanted)


def decide_each(items: Iterable[Object], decide: Callable[[Object], Iterator[Change]]) -> Iterator[Change]:
    """Decides on each object; one that cannot be read gets an Event and does not stop the others.

    In the lab no admission webhook has validated what people write.
    """
    for item in items:
        try:
            yield from decide(item)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield PostEvent(item, "NotUnderstood", f"{type(error).__name__}: {error}", warning=True)


def owner_references(node: Object) -> list[Object]:
    """The ownerReferences of something that ends with `node`."""
    reference = {"apiVersion": node["apiVersion"], "kind": node["kind"], "name": name(node), "uid": uid(node)}
    return [{**reference, "controller": True}]


def format_time(moment: datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


ConditionState = tuple[bool, str, str]
"""Whether a condition holds, its reason (CamelCase) and a message for people."""


def set_condition(node: Object, cache: ClusterCache, type_: str, verdict: ConditionState) -> list[Object]:
    """The object's conditions with one of them set; its time of transition stays while its status does."""
    state, reason, message = verdict
    status = "True" if state else "False"
    conditions: list[Object] = get_path(node, "status", "conditions", default=[])
    before = next((item for item in conditions if item["type"] == type_), {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    wanted = {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since or format_time(cache.now),
    }
    return [wanted if item is before else item for item in conditions] + ([] if before else [wanted])
