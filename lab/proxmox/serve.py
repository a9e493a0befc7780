"""HTTPS as a Proxmox VE node speaks it: TLS 1.3 and nothing older."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from lab.proxmox.wire import DROP

PORT = 8006
"""Of the API, on every node."""


class DroppableProtocol(H11Protocol):
    """HTTP/1.1 whose application may close the connection without an answer, to lose a reply on purpose."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Offer the extension on every request of this connection."""
        super().connection_made(transport)
        inner = self.app

        async def with_drop(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[DROP] = transport.abort
            await inner(scope, receive, send)

        self.app = with_drop


def build_server(app: ASGIApp, host: str, certificate: Path, key: Path, *, port: int = PORT) -> uvicorn.Server:
    """A server for one address, which the certificate (PEM) names; run it with `await server.serve()`."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=DroppableProtocol,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        ssl_context_factory=_require_tls_1_3,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Longer than clients rest between two calls, so that none writes into a connection that is just being closed.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def _require_tls_1_3(_config: uvicorn.Config, default: Any) -> ssl.SSLContext:
    context: ssl.SSLContext = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
