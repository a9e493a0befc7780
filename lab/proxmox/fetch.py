"""Downloads that a node makes on behalf of a caller (`download-url`, `query-url-metadata`)."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from lab.proxmox.errors import ApiError


@dataclass(frozen=True)
class FetchedFile:
    """What a URL holds."""

    size: int
    """Bytes."""
    mimetype: str
    digest: str = ""
    """Hex digest by the algorithm asked for; empty when none was."""


class Fetcher:
    """Fetches over HTTP inside the campus, where only the mirror can be reached; trusts one CA certificate (PEM)."""

    def __init__(self, authority: Path) -> None:
        self._authority = authority

    async def metadata(self, url: str, *, verify: bool) -> FetchedFile:
        """Size and type without the content; raises `ApiError`."""
        async with self._client(verify=verify) as client:
            try:
                answer = await client.head(url)
            except httpx.HTTPError as error:
                raise _unreachable(url, error) from None
            _expect_ok(answer)
            return FetchedFile(int(answer.headers.get("content-length", 0)), _media_type(answer))

    async def download(self, url: str, *, verify: bool, algorithm: str | None) -> FetchedFile:
        """Read the content, keep its measure and digest; raises `ApiError`."""
        digest = hashlib.new(algorithm) if algorithm else None
        size = 0
        async with self._client(verify=verify) as client:
            try:
                async with client.stream("GET", url) as answer:
                    _expect_ok(answer)
                    async for chunk in answer.aiter_bytes():
                        size += len(chunk)
                        if digest:
                            digest.update(chunk)
                    return FetchedFile(size, _media_type(answer), digest.hexdigest() if digest else "")
            except httpx.HTTPError as error:
                raise _unreachable(url, error) from None

    def _client(self, *, verify: bool) -> httpx.AsyncClient:
        trust: ssl.SSLContext | bool = verify
        if verify and self._authority.exists():
            trust = ssl.create_default_context(cafile=str(self._authority))
        return httpx.AsyncClient(verify=trust, timeout=30, follow_redirects=True, trust_env=False)


def _expect_ok(answer: httpx.Response) -> None:
    if answer.status_code != httpx.codes.OK:
        raise ApiError(500, f"invalid server response: '{answer.status_code} {answer.reason_phrase}'")


def _media_type(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-type", "application/octet-stream")).partition(";")[0]


def _unreachable(url: str, error: httpx.HTTPError) -> ApiError:
    host = urlsplit(url).hostname
    return ApiError(
        500, f"invalid server response: '500 Can't connect to {host} ({str(error) or type(error).__name__})'"
    )
