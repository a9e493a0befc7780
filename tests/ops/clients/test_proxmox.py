"""What the client makes of Proxmox's answers: a status and Proxmox's own words, as fields."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from components.proxmox.client import PveError
from lab.certificates import ensure_authority, issue
from ops.clients.proxmox import ProxmoxApi, UntrustedCertificateError


def answering(status: int, **body: object) -> ProxmoxApi:
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body))
    return ProxmoxApi("https://pve1:8006/", None, "token", transport)


def test_a_refusal_has_its_status_and_proxmoxs_own_words() -> None:
    with pytest.raises(PveError, match="GET /pools: 403 Permission check failed") as refused:
        answering(403, message="Permission check failed\n").call("GET", "pools")

    assert (refused.value.status, refused.value.reason) == (403, "Permission check failed")


def test_the_parameters_that_proxmox_rejects_are_in_its_words() -> None:
    with pytest.raises(PveError) as refused:
        answering(400, message="Parameter verification failed.", errors={"vmid": "VM 100 already exists"}).call(
            "GET", "cluster/nextid"
        )

    assert refused.value.status == 400
    assert "VM 100 already exists" in refused.value.reason


def test_no_answer_has_no_status() -> None:
    with pytest.raises(PveError, match="does not answer") as silent:
        ProxmoxApi("https://127.0.0.1:9/", None, "token").call("GET", "version")

    assert (silent.value.status, silent.value.reason) == (None, "")


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate of its own CA: its URL and the CA's file."""
    ca, ca_key = tmp_path / "ca.pem", tmp_path / "ca.key"
    ensure_authority(ca, ca_key, "Proxmox")
    issue((ca, ca_key), ["pve1"], ["127.0.0.1"], tmp_path / "pve.pem", tmp_path / "pve.key")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pve.pem", tmp_path / "pve.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/", ca
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_of_an_unknown_ca_is_an_error_of_its_own_with_a_remedy(server: tuple[str, Path]) -> None:
    url, ca = server
    with pytest.raises(UntrustedCertificateError, match="is not trusted") as untrusted:
        ProxmoxApi(url, None, "token").call("GET", "version")
    assert "proxmox.ca-file" in untrusted.value.remedy

    with pytest.raises(PveError) as refused:
        ProxmoxApi(url, ca, "token").call("GET", "version")
    assert not isinstance(refused.value, UntrustedCertificateError)
    assert refused.value.status == 501
