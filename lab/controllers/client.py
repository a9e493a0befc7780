"""A small Kubernetes client: lists, watches and writes with the access of a kubeconfig."""

import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from lab.controllers.changes import Change, Create, Delete, Note, Patch, stamp
from lab.controllers.kinds import KINDS
from lab.controllers.snapshot_cache import Object, World, name, namespace, uid

__all__ = ["Client", "Expired", "access"]

WATCH_SECONDS = 300
"""How long one watch lasts; then the API server ends it and a new one begins where it stopped."""

SILENCE_SECONDS = 150
"""The API server sends a bookmark about once a minute; one that is silent for longer is gone without a farewell."""

MERGE = {"Content-Type": "application/merge-patch+json"}


class Expired(Exception):  # noqa: N818  # a state, read as one
    """The API server has forgotten the version to watch from; list again."""


def access(kubeconfig: str) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    """Reads a kubeconfig's current context.

    Returns:
        The server's address, a TLS context with its authority and the client certificate, and request headers.
    """
    config = yaml.safe_load(kubeconfig)
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    authority = _data(cluster, "certificate-authority")
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, private = _data(user, "client-certificate"), _data(user, "client-key")
    if certificate and private:
        # The ssl module reads client certificates from files only.
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(certificate + b"\n" + private)
            tls.load_cert_chain(file.name)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return str(cluster["server"]), tls, headers


def _named(items: list[Object], wanted: str) -> Object:
    return next(item for item in items if item["name"] == wanted)


def _data(node: Object, field: str) -> bytes:
    if f"{field}-data" in node:
        return base64.b64decode(node[f"{field}-data"])
    return Path(node[field]).read_bytes() if field in node else b""


class Client:
    """Talks to one API server."""

    def __init__(self, kubeconfig: str) -> None:
        server, tls, headers = access(kubeconfig)
        # Each watch holds a connection of its own.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        self._http = httpx.AsyncClient(base_url=server, verify=tls, headers=headers, timeout=10, limits=limits)

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def list(self, kind: str) -> tuple[list[Object], str]:
        """All objects of a kind, and the version to watch from."""
        place = KINDS[kind]
        answer = await self._http.get(
            place.path(), params={"fieldSelector": place.selector} if place.selector else None
        )
        answer.raise_for_status()
        body = answer.json()
        typed = {"apiVersion": place.api_version, "kind": kind}
        return [typed | item for item in body.get("items") or []], body["metadata"]["resourceVersion"]

    async def watch(self, kind: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Yields ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object, or ``BOOKMARK``, until the server ends it.

        Raises:
            Expired: List again.
        """
        place = KINDS[kind]
        params: dict[str, Any] = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        params |= {"timeoutSeconds": WATCH_SECONDS} | ({"fieldSelector": place.selector} if place.selector else {})
        timeout = httpx.Timeout(10, read=SILENCE_SECONDS)
        async with self._http.stream("GET", place.path(), params=params, timeout=timeout) as stream:
            if stream.status_code == httpx.codes.GONE:
                raise Expired
            stream.raise_for_status()
            async for line in stream.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Expired
                yield event["type"], event["object"]

    async def apply(self, change: Change, world: World) -> Object | None:
        """Carries out a change.

        Returns:
            The object as it is now, or None where nothing is left to know.

        Raises:
            httpx.HTTPStatusError: The API server refuses; what has meanwhile gone or come is no error.
        """
        match change:
            case Patch():
                place = KINDS[change.kind]
                url = place.path(change.namespace, change.name) + (
                    f"/{change.subresource}" if change.subresource else ""
                )
                answer = await self._http.patch(url, content=json.dumps(change.body), headers=MERGE)
            case Create():
                place = KINDS[str(change.object["kind"])]
                answer = await self._http.post(place.path(namespace(change.object)), json=change.object)
            case Delete():
                answer = await self._http.delete(KINDS[change.kind].path(change.namespace, change.name))
            case _:
                event = _event(change, world)
                answer = await self._http.post(KINDS["Event"].path(namespace(event)), json=event)
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT):
            return None
        answer.raise_for_status()
        with contextlib.suppress(ValueError):
            body: Object = answer.json()
            return body if isinstance(change, Patch | Create) else None
        return None


def _event(change: Note, world: World) -> Object:
    about, moment = change.about, stamp(world.now)
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
