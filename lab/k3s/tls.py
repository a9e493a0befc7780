"""TLS contexts of the stand-in's HTTP clients; every one of them verifies its server."""

import ssl
from pathlib import Path

__all__ = ["client_context", "context_for"]


def client_context(authority: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """Return a context that trusts one CA file and shows a certificate; its key lies beside it as `.key`."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def context_for(bundle: bytes) -> ssl.SSLContext:
    """Return a context that trusts a CA bundle given as PEM."""
    return ssl.create_default_context(cadata=bundle.decode())
