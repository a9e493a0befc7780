"""Signs certificates: self-signed or by an authority."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "Issued", "Request", "duration", "issue", "read_authority"]

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Request:
    """What a certificate shall say."""

    common_name: str
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    is_ca: bool
    lifetime: timedelta
    renew_before: timedelta
    algorithm: str
    """``RSA``, ``ECDSA`` or ``Ed25519``."""
    size: int | None
    """Bits; None for cert-manager's default (RSA 2048, ECDSA 256)."""


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    certificate: x509.Certificate
    key: Key

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


@dataclass(frozen=True)
class Issued:
    """A signed certificate and what belongs to it, as PEM."""

    certificate: x509.Certificate
    chain: bytes
    key: bytes
    authority: bytes


def duration(text: str) -> timedelta:
    """Reads a Go duration of hours, minutes and seconds: ``2160h``, ``1h30m``.

    Raises:
        ValueError: The text is none.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or match is None:
        raise ValueError(f"'{text}' is no duration; write hours, minutes and seconds as in 2160h or 1h30m0s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def read_authority(certificate: bytes, key: bytes) -> Authority | None:
    """Reads an authority's PEM files; None when the certificate may not sign others."""
    loaded = x509.load_pem_x509_certificate(certificate)
    private = serialization.load_pem_private_key(key, None)
    try:
        constraints = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None
    if not constraints.ca or not isinstance(private, Key):
        return None
    return Authority(loaded, private)


def issue(request: Request, authority: Authority | None, now: datetime) -> Issued:
    """Makes a key and a certificate, signed by the authority, or by itself when there is none."""
    key = _key(request)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)] if request.common_name else [])
    signer, issuer = (authority.key, authority.certificate.subject) if authority else (key, subject)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + request.lifetime)
        .add_extension(x509.BasicConstraints(ca=request.is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(is_ca=request.is_ca), critical=True)
    )
    names: list[x509.GeneralName] = [x509.DNSName(item) for item in request.dns_names]
    names += [x509.IPAddress(ip_address(item)) for item in request.ip_addresses]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not request.common_name)
    if not request.is_ca:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    certificate = builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    own = certificate.public_bytes(pem)
    return Issued(certificate, own, private, authority.certificate.public_bytes(pem) if authority else own)


def _key(request: Request) -> Key:
    match request.algorithm:
        case "ECDSA":
            curves = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
            return ec.generate_private_key(curves[request.size or 256])
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=request.size or 2048)


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
