"""X.509 for the cluster: K3s's CAs and the certificates that they sign, all on P-256 keys."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "Issued", "new_authority", "new_key", "read_authority", "sign"]

CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_DAYS = 120
"""A start renews what expires sooner, as K3s does."""

_BACKDATE = dt.timedelta(minutes=5)
"""Clocks of a campus differ a little."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, both PEM; the certificate file ends with its issuer's."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def new_key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """Make a private key; returns it and its PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return key, pem


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def new_authority(common_name: str, now: dt.datetime) -> Issued:
    """Make a self-signed CA; K3s names them `k3s-server-ca@<unix time>`."""
    key, pem = new_key()
    name = _name(f"{common_name}@{int(now.timestamp())}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, key_encipherment=True, content_commitment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + dt.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), pem)


def read_authority(certificate: bytes, key: bytes) -> Authority:
    """Load a CA from PEM."""
    loaded = serialization.load_pem_private_key(key, None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise TypeError(f"the CA key is {type(loaded).__name__}: the lab's K3s signs with elliptic-curve keys only")
    return Authority(x509.load_pem_x509_certificate(certificate), loaded)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def sign(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    common_name: str,
    *,
    organizations: Sequence[str] = (),
    names: Sequence[str] = (),
    days: int = LEAF_DAYS,
    now: dt.datetime,
) -> bytes:
    """Sign a certificate.

    Args:
        authority: The issuer.
        public_key: Whose certificate it is.
        common_name: The Kubernetes user.
        organizations: The Kubernetes groups.
        names: DNS names and IP addresses; with any the certificate serves as server certificate too.
        days: Validity.
        now: Start of validity.

    Returns:
        PEM of the certificate followed by its issuer's.
    """
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    subject = _name(common_name, organizations)
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=False, content_commitment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder(authority.certificate.subject, subject, public_key, x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(identifier, critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + authority.pem


def days_left(certificate: bytes, now: dt.datetime) -> float:
    """Return how many days the first certificate of a PEM file is still valid."""
    return (x509.load_pem_x509_certificate(certificate).not_valid_after_utc - now).total_seconds() / 86400
