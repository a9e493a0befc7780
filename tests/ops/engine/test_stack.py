"""What the engine's plugins trust: the public roots, and the campus's own beside them."""

import datetime as dt
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography import x509

from lab.certificates import Authority
from ops.engine import stack
from ops.engine.stack import Stack
from tests.support.sites import site


def make_authority(name: str, folder: Path) -> Path:
    """A file with a certificate authority of this name."""
    file = folder / f"{name}.pem"
    file.write_bytes(Authority.create(name, dt.datetime.now(dt.UTC), dt.timedelta(days=1)).pem)
    return file


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle of a site whose Proxmox and campus have CAs of their own."""
    public, proxmox, campus = (make_authority(name, tmp_path) for name in ("Public", "Proxmox", "Campus"))
    proxmox.write_text(proxmox.read_text().rstrip("\n"))
    monkeypatch.setattr(stack, "PUBLIC_CAS", (public,))
    monkeypatch.setattr(stack, "STATE", tmp_path / "state")
    configured = site({"ca-file": str(campus), "proxmox": {"ca-file": str(proxmox)}})
    written = Stack._write_ca_bundle(cast("Stack", SimpleNamespace(site=configured)))
    assert written is not None
    return written


def test_the_campus_ca_stands_beside_the_public_roots(bundle: Path) -> None:
    """Helm's `caFile` would replace them, and every public chart repository fail."""
    trusted = ssl.create_default_context(cafile=str(bundle)).get_ca_certs(binary_form=True)
    names = [x509.load_der_x509_certificate(one).subject.rfc4514_string() for one in trusted]

    assert sorted(names) == ["CN=Campus", "CN=Proxmox", "CN=Public"]
