"""A small client of the Kubernetes API: paths, discovery of kinds, server-side apply."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

__all__ = ["ApiError", "Kube"]

Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused, or does not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 when there was no answer."""


class Kube:
    """One API server, with one identity."""

    def __init__(self, server: str, context: ssl.SSLContext, *, timeout: float = 10.0) -> None:
        self._http = httpx.AsyncClient(base_url=server, verify=context, timeout=timeout)
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

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
        **query: str,
    ) -> Object:
        """Make a request; returns the answered object, or `{"text": ...}` when it is no JSON."""
        arguments: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        try:
            response = await self._http.request(
                method,
                path,
                json=body if body is not None else None,
                params=query,
                headers={"Content-Type": content_type} if body is not None else {},
                **arguments,
            )
        except httpx.HTTPError as error:
            raise ApiError(0, f"{path}: {error!r}") from error
        try:
            answer = response.json()
        except ValueError:
            answer = {"text": response.text}
        if response.is_error:
            raise ApiError(
                response.status_code, str(answer.get("message") or answer.get("text") or response.status_code)
            )
        return answer if isinstance(answer, dict) else {"text": answer}

    async def get(self, path: str) -> Object | None:
        """Return an object, or None when it does not exist."""
        try:
            return await self.call("GET", path)
        except ApiError as error:
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
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def ready(self, timeout: float = 2.0) -> bool:
        """Return whether the API server says that it is ready."""
        try:
            await self.call("GET", "/readyz", timeout=timeout)
        except ApiError:
            return False
        return True

    async def wait_ready(self, deadline: float) -> None:
        """Wait until the API server is ready; raises `TimeoutError` after `deadline` seconds."""
        end = time.monotonic() + deadline
        while not await self.ready():
            if time.monotonic() > end:
                raise TimeoutError(f"kube-apiserver is not ready after {deadline:.0f} s")
            await asyncio.sleep(0.1)

    async def path_of(self, item: Mapping[str, Any]) -> str:
        """Return the API path of an object; raises `ApiError` 404 when its kind is not served (yet)."""
        version, kind = str(item["apiVersion"]), str(item["kind"])
        if (version, kind) not in self._kinds:
            listed = await self.call("GET", f"{_root(version)}")
            for resource in listed.get("resources", []):
                if "/" not in resource["name"]:
                    self._kinds[version, resource["kind"]] = (resource["name"], resource["namespaced"])
        if (version, kind) not in self._kinds:
            raise ApiError(404, f'no matches for kind "{kind}" in version "{version}"')
        plural, namespaced = self._kinds[version, kind]
        metadata = item["metadata"]
        middle = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{_root(version)}{middle}/{plural}/{metadata['name']}"

    async def apply(self, item: Mapping[str, Any], manager: str) -> Object:
        """Apply an object on the server's side, taking over fields that others set."""
        path = await self.path_of(item)
        return await self.call(
            "PATCH", path, item, content_type="application/apply-patch+yaml", fieldManager=manager, force="true"
        )


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
