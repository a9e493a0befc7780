"""A client of the Kubernetes API for everything in the lab that asks one: K3s, kube-vip, the operators' stand-ins."""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

Object = dict[str, Any]

SILENCE_SECONDS = 150
"""The API server sends a bookmark about once a minute; a watch that is silent for longer has lost its server."""


class KubernetesError(Exception):
    """The API server refused, or does not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 when there was no answer."""


class KubeClient:
    """One API server, with one identity."""

    def __init__(
        self, server: str, context: ssl.SSLContext, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0
    ) -> None:
        # Each watch holds a connection of its own.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        self._http = httpx.AsyncClient(base_url=server, verify=context, headers=headers, timeout=timeout, limits=limits)
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    @classmethod
    def from_kubeconfig(cls, text: str) -> "KubeClient":
        """Use the server and the user of a kubeconfig's current context; credentials inline or in files."""
        config = yaml.safe_load(text)
        context = _find_named(config["contexts"], config["current-context"])["context"]
        cluster = _find_named(config["clusters"], context["cluster"])["cluster"]
        user = _find_named(config["users"], context["user"])["user"]
        authority = _read_data(cluster, "certificate-authority")
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        certificate, private = _read_data(user, "client-certificate"), _read_data(user, "client-key")
        if certificate and private:
            # The ssl module reads client certificates from files only.
            with tempfile.NamedTemporaryFile() as file:
                Path(file.name).write_bytes(certificate + b"\n" + private)
                tls.load_cert_chain(file.name)
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else None
        return cls(str(cluster["server"]), tls, headers=headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        timeout: float | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """Make a request; returns the answered object, or `{"text": ...}` when it is not JSON."""
        arguments: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        if body is not None:
            arguments |= {"json": body, "headers": {"Content-Type": content_type}}
        try:
            response = await self._http.request(method, path, params=query, **arguments)
        except httpx.HTTPError as error:
            raise KubernetesError(0, f"{path}: {error!r}") from error
        try:
            answer = response.json()
        except ValueError:
            answer = {"text": response.text}
        if response.is_error:
            message = answer.get("message") or answer.get("text") or response.status_code
            raise KubernetesError(response.status_code, str(message))
        return answer if isinstance(answer, dict) else {"text": answer}

    async def watch(self, path: str, **query: str) -> AsyncIterator[Object]:
        """Yield the events of a collection until the server ends the watch.

        Raises:
            KubernetesError: 410 when the server has forgotten the version to watch from; list again.
        """
        timeout = httpx.Timeout(10, read=SILENCE_SECONDS)
        try:
            async with self._http.stream("GET", path, params={"watch": "1", **query}, timeout=timeout) as stream:
                if stream.is_error:
                    raise KubernetesError(stream.status_code, f"{path}: {stream.status_code}")
                async for line in stream.aiter_lines():
                    event: Object = json.loads(line)
                    if event["type"] == "ERROR":
                        raise KubernetesError(httpx.codes.GONE, str(event["object"].get("message", "")))
                    yield event
        except httpx.HTTPError as error:
            raise KubernetesError(0, f"{path}: {error!r}") from error

    async def get(self, path: str) -> Object | None:
        """Return an object, or None when it does not exist."""
        try:
            return await self.call("GET", path)
        except KubernetesError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    async def patch(self, path: str, body: Mapping[str, object], kind: str = "strategic-merge-patch") -> Object:
        """Patch an object: `strategic-merge-patch`, `merge-patch`."""
        return await self.call("PATCH", path, body, content_type=f"application/{kind}+json")

    async def delete(self, path: str) -> None:
        """Delete an object; one that does not exist is fine."""
        try:
            await self.call("DELETE", path)
        except KubernetesError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def is_ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            await self.call("GET", "/readyz", timeout=2.0)
        except KubernetesError:
            return False
        return True

    async def path_of(self, item: Mapping[str, Any]) -> str:
        """Return the API path of an object; raises `KubernetesError` 404 when its kind is not served (yet)."""
        version, kind = str(item["apiVersion"]), str(item["kind"])
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._kinds:
            listed = await self.call("GET", root)
            for resource in listed.get("resources", []):
                if "/" not in resource["name"]:
                    self._kinds[version, resource["kind"]] = (resource["name"], resource["namespaced"])
        if (version, kind) not in self._kinds:
            raise KubernetesError(404, f'no matches for kind "{kind}" in version "{version}"')
        plural, namespaced = self._kinds[version, kind]
        metadata = item["metadata"]
        middle = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{root}{middle}/{plural}/{metadata['name']}"

    async def apply(self, item: Mapping[str, Any], manager: str) -> Object:
        """Apply an object on the server's side, taking over fields that others set."""
        path = await self.path_of(item)
        return await self.call(
            "PATCH",
            path,
            item,
            content_type="application/apply-patch+yaml",
            query={"fieldManager": manager, "force": "true"},
        )


def _find_named(items: list[Object], name: str) -> Object:
    return next(item for item in items if item["name"] == name)


def _read_data(node: Object, field: str) -> bytes:
    if f"{field}-data" in node:
        return base64.b64decode(node[f"{field}-data"])
    return Path(node[field]).read_bytes() if field in node else b""
