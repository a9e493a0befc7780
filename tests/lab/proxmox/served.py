"""The simulated API on a loopback address behind TLS, for programs that the real engine runs."""

import asyncio
import datetime as dt
import json
import threading
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.contracts import LabSpec
from lab.proxmox import create_app
from lab.proxmox.fake import FakeHypervisor
from lab.proxmox.serve import build_server
from tests.lab.proxmox.campus import FakeFetcher
from tests.support.ports import free_port

ADDRESS = "127.86.0.11"
"""Loopback, but not where anything else listens."""


class ServedCampus:
    """The API of a campus, served by a thread of its own until `stop`."""

    def __init__(self, directory: Path, spec: LabSpec) -> None:
        self.run = directory / "run"
        self.run.mkdir(parents=True)
        self.ca = directory / "ca.pem"
        self.hypervisor = FakeHypervisor()
        port = free_port()
        self.endpoint = f"https://{ADDRESS}:{port}"
        certificate, key = directory / "node.pem", directory / "node.key"
        make_certificate(certificate, key, self.ca)
        self.px = create_app(spec, self.hypervisor, self.run, fetcher=FakeFetcher(self.ca))
        self._server = build_server(self.px, ADDRESS, certificate, key, port=port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._server.serve(),))
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.02)
        assert self._server.started, "the API did not start; its error is in the captured log"

    def api(self, method: str, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Call as the administrator."""
        return asyncio.run_coroutine_threadsafe(self.px.call(method, path, dict(params or {})), self._loop).result(30)

    def wait_until_idle(self) -> None:
        """Wait until every task has ended."""
        asyncio.run_coroutine_threadsafe(self.px.cluster.tasks.wait_until_idle(), self._loop).result(30)

    @property
    def token(self) -> str:
        """Lyceum's API token."""
        return (self.run / "proxmox-token").read_text()

    def requests(self) -> list[dict[str, Any]]:
        """The request log so far."""
        lines = (self.run / "log" / "proxmox-requests.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def stop(self) -> None:
        """End the server and wait for it."""
        self._server.should_exit = True
        self._thread.join()
        self._loop.close()


def make_certificate(certificate: Path, key: Path, ca: Path) -> None:
    """A throw-away authority and, signed by it, a certificate for the loopback address; all PEM."""
    authority_key, node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test campus")])
    now = dt.datetime.now(dt.UTC)

    def build(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    signed_ca = (
        build(authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    node = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve1")])
    signed_node = (
        build(node, node_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(ADDRESS))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca.write_bytes(signed_ca.public_bytes(pem))
    certificate.write_bytes(signed_node.public_bytes(pem))
    key.write_bytes(node_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
