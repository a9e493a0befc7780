"""The joining side of K3s's supervisor protocol: trust the CA that the token names, then ask with the token."""

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from lab.k3s import log, tokens

SUPERVISOR_PORT = 9345
"""K3s has API server and supervisor on one port; here the supervisor has its own, derived from the server's URL."""

_API_PORT = 6443


class RefusedError(Exception):
    """The supervisor refused or cannot be reached; the text is K3s's."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 when there was no answer."""


def supervisor_url(server: str) -> str:
    """Return the supervisor's URL for a `server:` setting such as `https://10.21.0.30:6443`."""
    parts = urlsplit(server)
    if parts.scheme != "https" or not parts.hostname:
        raise RefusedError(f"only https:// URLs are supported, invalid scheme: {server}")
    port = SUPERVISOR_PORT + ((parts.port or _API_PORT) - _API_PORT)
    return f"https://{parts.hostname}:{port}"


class SupervisorClient:
    """A connection to a supervisor, after its CA was checked against the token."""

    def __init__(self, url: str, bundle: bytes, token: tokens.JoinToken, user: str) -> None:
        self.bundle = bundle
        self._url = url
        self._http = httpx.AsyncClient(
            verify=ssl.create_default_context(cadata=bundle.decode()),
            auth=(token.user or user, token.password),
            timeout=10,
        )

    @classmethod
    async def connect(cls, server: str, token: str, user: str) -> "SupervisorClient":
        """Fetch and check the CA bundle of what `server:` names; raises `RefusedError` or `tokens.TokenError`.

        `user` is `server` or `node`, for tokens in the short form.
        """
        parsed, url = tokens.parse_token(token), supervisor_url(server)
        try:
            # The bundle is public; what makes it trusted is the hash in the token.
            async with httpx.AsyncClient(verify=False, timeout=10) as http:  # noqa: S501
                answer = await http.get(f"{url}/cacerts")
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise RefusedError(f"failed to get CA certs: {url}/cacerts: {error!r}") from error
        tokens.check_ca(parsed, answer.content)
        if not parsed.ca_hash:
            log.warning(
                "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. "
                "Use the full token from the server's node-token file to enable Cluster CA validation."
            )
        return cls(url, answer.content, parsed, user)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        """Make an authorized request and return what is answered; raises `RefusedError`."""
        try:
            response = await self._http.request(method, f"{self._url}{path}", headers=headers, content=body)
        except httpx.HTTPError as error:
            raise RefusedError(f"{self._url}{path}: {error!r}") from error
        if response.is_error:
            reason = f"{response.status_code} {response.reason_phrase}"
            detail = f": {response.text}" if response.text else ""
            raise RefusedError(f"{self._url}{path}: {reason}{detail}", response.status_code)
        return response.content
