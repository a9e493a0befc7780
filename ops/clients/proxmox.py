"""A client of the Proxmox VE API with a token or a password, verified TLS and repeated parameters."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from components.proxmox.client import Pve, PveError
from config.paths import PROJECT

if TYPE_CHECKING:
    from ops.engine.engine import Engine

TIMEOUT = httpx.Timeout(15, connect=5)


class UntrustedCertificateError(PveError):
    """The server shows a certificate that neither the system's CAs nor the campus's own have signed."""


class ProxmoxApi(Pve):
    """The API, called as one user or token.

    Args:
        endpoint: `https://pve1.campus.example:8006/`.
        ca_file: CA trusted in addition to the system's.
        token: `user@realm!name=uuid`; None to sign in.
        transport: Replaces the network in tests.
    """

    def __init__(
        self,
        endpoint: str,
        ca_file: Path | None,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"PVEAPIToken={token}"} if token else {}
        # The campus's web proxy cannot reach the hypervisors, so proxy variables are ignored.
        self._client = httpx.Client(
            base_url=endpoint,
            verify=_tls_context(ca_file),
            headers=headers,
            timeout=TIMEOUT,
            trust_env=False,
            transport=transport,
        )

    def call(self, method: str, path: str, **parameters: Any) -> Any:
        """Data of an answer; a parameter that is a tuple is sent once for each item.

        Raises:
            PveError: refused or unreachable.
        """
        return self.send(method, path, parameters)

    def send(self, method: str, path: str, parameters: Mapping[str, Any]) -> Any:
        """The same, for parameters whose names are not Python identifiers."""
        place = {"params": parameters} if method in {"GET", "DELETE"} else {"data": parameters}
        try:
            answer = self._client.request(method, f"/api2/json/{path}", **place)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            raise _connection_error(str(self._client.base_url), error) from None
        if answer.is_error:
            raise PveError.refused(method, path, answer.status_code, _error_message(answer))
        try:
            return answer.json()["data"]
        except (ValueError, KeyError, TypeError):
            raise PveError(f"{self._client.base_url} is not a Proxmox API: its answer has no data") from None

    def sign_in(self, user: str, password: str) -> None:
        """Signs in as a user with a password; later calls are made as that user."""
        ticket = self.call("POST", "access/ticket", username=user, password=password)
        self._client.headers.pop("Authorization", None)
        self._client.headers["CSRFPreventionToken"] = ticket["CSRFPreventionToken"]
        self._client.headers["Cookie"] = f"PVEAuthCookie={ticket['ticket']}"


def connect_proxmox(engine: "Engine") -> Pve:
    """The stack's Proxmox, with the stack's token."""
    settings = engine.stack.site.proxmox
    ca = str(PROJECT / settings.ca_file) if settings.ca_file else None
    return Pve(str(settings.endpoint), engine.stack.secret("proxmox-token"), ca)


def list_vm_ids(engine: "Engine") -> set[int]:
    """VMIDs of all VMs that Proxmox has. Asked for by its number, one that is gone answers 403 to a token of the pool.

    Raises:
        PveError: it cannot be known; a token that does not see its pool gets an empty list.
    """
    pve, pool = connect_proxmox(engine), engine.stack.site.proxmox.pool
    if pool not in {entry["poolid"] for entry in pve.call("GET", "pools")}:
        raise PveError(f"the token does not see the pool {pool}: grant it Pool.Audit on /pool/{pool}")
    return {int(vm["vmid"]) for vm in pve.call("GET", "cluster/resources", type="vm")}


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the system's CAs and the campus's own; certificates are always verified."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise PveError(f"the CA file {ca_file} cannot be read: {error}") from None
    return context


def _connection_error(url: str, error: httpx.TransportError) -> PveError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UntrustedCertificateError(
                f"the certificate of {url} is not trusted ({cause.verify_message})",
                remedy="name the CA that signed it in `proxmox.ca-file`",
            )
        cause = cause.__cause__ or cause.__context__
    return PveError(f"{url} does not answer: {str(error) or type(error).__name__}")


def _error_message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    if not isinstance(body, dict):
        return answer.reason_phrase
    details = "; ".join(f"{name}: {text}".strip() for name, text in (body.get("errors") or {}).items())
    message = str(body.get("message") or answer.reason_phrase).strip()
    return f"{message}; {details}" if details else message
