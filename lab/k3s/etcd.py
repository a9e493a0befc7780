"""A client of etcd over its JSON gateway: members, keys, snapshots."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lab.certificates import client_context
from lab.k3s.paths import Paths

METRICS = "http://127.0.0.1:2381/metrics"
"""Where K3s has etcd show its metrics to the own host."""


class EtcdError(Exception):
    """etcd refused; the text is etcd's own."""


@dataclass(frozen=True)
class EtcdMember:
    """A member of the etcd cluster."""

    id: str
    """Decimal, as the JSON gateway writes it."""
    name: str
    """Empty while the member was added but has never started."""
    peer_url: str
    client_url: str
    learner: bool


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _range_end(prefix: str) -> str:
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Etcd:
    """One endpoint of an etcd cluster."""

    def __init__(self, endpoint: str, paths: Paths) -> None:
        """Connect lazily, with the certificate `tls/etcd/client` of these paths."""
        context = client_context(paths.tls / "etcd" / "server-ca.crt", paths.tls / "etcd" / "client.crt")
        self.endpoint = endpoint
        self._http = httpx.AsyncClient(base_url=endpoint, verify=context)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _call(self, path: str, body: Mapping[str, object], timeout: float = 5.0) -> dict[str, Any]:
        try:
            response = await self._http.post(path, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise EtcdError(f"{self.endpoint}: {error!r}") from error
        try:
            answer: dict[str, Any] = response.json()
        except json.JSONDecodeError as error:
            raise EtcdError(f"{self.endpoint}: {response.status_code} {response.text[:200]}") from error
        if response.status_code != httpx.codes.OK:
            raise EtcdError(str(answer.get("message") or answer.get("error") or answer))
        return answer

    async def members(self) -> list[EtcdMember]:
        """Return the members, as the quorum knows them."""
        answer = await self._call("/v3/cluster/member/list", {"linearizable": True})
        return [
            EtcdMember(
                raw["ID"],
                raw.get("name", ""),
                (raw.get("peerURLs") or [""])[0],
                (raw.get("clientURLs") or [""])[0],
                bool(raw.get("isLearner")),
            )
            for raw in answer.get("members", [])
        ]

    async def add_learner(self, peer_url: str) -> None:
        """Announce a new member that has no vote yet."""
        await self._call("/v3/cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})

    async def promote(self, member_id: str) -> None:
        """Give a learner its vote; etcd refuses until it has caught up."""
        await self._call("/v3/cluster/member/promote", {"ID": member_id})

    async def remove(self, member_id: str) -> None:
        """Remove a member for good."""
        await self._call("/v3/cluster/member/remove", {"ID": member_id})

    async def status(self, timeout: float = 1.0) -> dict[str, Any]:
        """Return the endpoint's status: `header.member_id`, `leader`, `isLearner`, `dbSize`. Needs no quorum."""
        return await self._call("/v3/maintenance/status", {}, timeout)

    async def has_received_snapshot(self) -> bool:
        """Return whether this endpoint was sent the store by another member; its metrics say so before it serves."""
        try:
            metrics = await self._http.get(METRICS, timeout=1)
        except httpx.HTTPError:
            return False
        return "\netcd_network_snapshot_receive_success{" in metrics.text

    async def get_prefix(self, prefix: str) -> dict[str, str]:
        """Return all keys that start with a prefix."""
        answer = await self._call("/v3/kv/range", {"key": _encode(prefix), "range_end": _encode(_range_end(prefix))})
        return {
            base64.b64decode(pair["key"]).decode(): base64.b64decode(pair.get("value", "")).decode()
            for pair in answer.get("kvs", [])
        }

    async def put(self, key: str, value: str) -> None:
        """Write a key."""
        await self._call("/v3/kv/put", {"key": _encode(key), "value": _encode(value)})

    async def delete(self, key: str) -> None:
        """Delete a key."""
        await self._call("/v3/kv/deleterange", {"key": _encode(key)})

    async def snapshot(self, target: Path) -> None:
        """Stream a snapshot of the whole store into a file: the database followed by its SHA-256, as etcdctl's."""
        partial = target.with_name(target.name + ".part")
        try:
            async with self._http.stream("POST", "/v3/maintenance/snapshot", json={}, timeout=60) as response:
                with partial.open("wb") as file:
                    async for line in response.aiter_lines():
                        answer = json.loads(line) if line else {}
                        if "error" in answer:
                            raise EtcdError(str(answer["error"].get("message")))
                        file.write(base64.b64decode(answer.get("result", {}).get("blob", "")))
        except httpx.HTTPError as error:
            raise EtcdError(f"{self.endpoint}: {error!r}") from error
        partial.chmod(0o600)
        partial.rename(target)
