"""X.509 for everything in the lab that issues certificates: the campus's CA, K3s's CAs, cert-manager's stand-in."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
CAMPUS_LIFETIME = dt.timedelta(days=365)
BACKDATED = dt.timedelta(hours=1)
"""Tolerates clocks that differ."""


@dataclass(frozen=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> "Authority":
        """Read certificate and key; raises `ValueError` when the certificate may not sign others."""
        loaded, private = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
        try:
            may_sign = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            may_sign = False
        if not may_sign or not isinstance(private, PrivateKey):
            raise ValueError(f"{loaded.subject.rfc4514_string()} is not a CA that the lab can sign with")
        return cls(loaded, private)

    @classmethod
    def create(cls, common_name: str, start: dt.datetime, lifetime: dt.timedelta) -> "Authority":
        """Create a self-signed CA with a P-256 key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = subject(common_name)
        return cls(sign(key.public_key(), name, name, key, start=start, lifetime=lifetime, is_ca=True), key)

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


def subject(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    """A distinguished name; an empty common name is left out."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name(attributes + ([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []))


def key_pem(key: PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """A private key without encryption."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def sign(
    public_key: PublicKey,
    name: x509.Name,
    issuer: x509.Name,
    signer: PrivateKey,
    *,
    start: dt.datetime,
    lifetime: dt.timedelta,
    names: Iterable[str] = (),
    usages: Sequence[x509.ObjectIdentifier] = (SERVER, CLIENT),
    is_ca: bool = False,
) -> x509.Certificate:
    """Sign a certificate of `name` for a public key; a self-signed one has itself as issuer.

    `names` are DNS names and IP addresses; `usages` are extended key usages, which a CA's certificate has not.
    """
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=is_ca, crl_sign=is_ca, content_commitment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder(issuer, name, public_key, x509.random_serial_number(), start, start + lifetime)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if alternatives := [_alternative(one) for one in names]:
        # RFC 5280: critical where the subject is empty.
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not list(name))
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def client_context(authority: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """A TLS context that trusts one CA file and shows a certificate; its key lies beside it as `.key`."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def ensure_authority(certificate: Path, key: Path, name: str) -> None:
    """Create the campus's CA unless it is there; it stays the same as long as the campus does."""
    if not (certificate.exists() and key.exists()):
        authority = Authority.create(f"Lyceum lab {name} CA", dt.datetime.now(dt.UTC) - BACKDATED, CAMPUS_LIFETIME)
        _write_key(key, authority.key)
        certificate.write_bytes(authority.pem)


def issue(
    authority: tuple[Path, Path], names: Iterable[str], addresses: Iterable[str], certificate: Path, key: Path
) -> None:
    """Write a server certificate for DNS names and IP addresses, signed by the CA (certificate, key)."""
    ca = Authority.from_pem(authority[0].read_bytes(), authority[1].read_bytes())
    private = ec.generate_private_key(ec.SECP256R1())
    dns = list(names)
    signed = sign(
        private.public_key(), subject(dns[0]), ca.certificate.subject, ca.key, names=[*dns, *addresses],
        start=dt.datetime.now(dt.UTC) - BACKDATED, lifetime=CAMPUS_LIFETIME,
    )  # fmt: skip
    _write_key(key, private)
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))


def _write_key(path: Path, key: PrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key_pem(key))
