"""Certificates made older, as if so many days had passed: same keys, names and issuers, other dates."""

import base64
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from lab.certificates import Authority
from lab.k3s.paths import Paths, write_secret
from lab.k3s.pki import LEAVES, read_authority


def age_certificate(certificate: bytes, authority: Authority, days: int) -> bytes:
    """Return PEM of a certificate with dates that lie so many days earlier, followed by its issuer's."""
    known = x509.load_pem_x509_certificate(certificate)
    shift = dt.timedelta(days=days)
    builder = x509.CertificateBuilder(
        known.issuer,
        known.subject,
        known.public_key(),
        known.serial_number,
        known.not_valid_before_utc - shift,
        known.not_valid_after_utc - shift,
        list(known.extensions),
    )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + authority.pem


def age_machine(root: Path, authorities: Path, days: int) -> int:
    """Make every certificate of a machine older, in kubeconfigs too, without restarting K3s; returns how many it has.

    `root` is the machine's `/`, `authorities` the `server/tls` of a server, because an agent has no CA.
    """
    paths = Paths(root / "var/lib/rancher/k3s")
    changed = {}
    for file, issuer in _leaves(paths):
        authority = read_authority(authorities / issuer)
        old = file.read_bytes()
        changed[base64.b64encode(old).decode()] = new = age_certificate(old, authority, days)
        write_secret(file, new, file.stat().st_mode & 0o777)
    for file in (
        *paths.cred.glob("*.kubeconfig"),
        *paths.agent.glob("*.kubeconfig"),
        root / "etc/rancher/k3s/k3s.yaml",
    ):
        if file.exists():
            text = file.read_text()
            for old_text, new in changed.items():
                text = text.replace(old_text, base64.b64encode(new).decode())
            write_secret(file, text, file.stat().st_mode & 0o777)
    return len(changed)


def _leaves(paths: Paths) -> Iterator[tuple[Path, str]]:
    """Certificates that are there, with their issuers."""
    known = [*((paths.tls / f"{leaf.file}.crt", leaf.issuer) for leaf in LEAVES)]
    own = {"client-kubelet": "client-ca", "client-kube-proxy": "client-ca", "serving-kubelet": "server-ca"}
    known += [(paths.agent / f"{name}.crt", issuer) for name, issuer in own.items()]
    return ((file, issuer) for file, issuer in known if file.exists())
