"""Certificates as cert-manager issues them: from a Certificate's spec to PEM files, self-signed or by a CA."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from lab import certificates
from lab.certificates import Authority, PrivateKey

__all__ = ["CertificateRequest", "IssuedCertificate", "go_duration", "issue"]


@dataclass(frozen=True)
class CertificateRequest:
    """What a Certificate's spec asks for."""

    common_name: str
    names: tuple[str, ...]
    """DNS names and IP addresses."""
    is_ca: bool
    lifetime: timedelta
    renew_before: timedelta
    algorithm: str
    """``RSA``, ``ECDSA`` or ``Ed25519``."""
    size: int | None
    """Bits; None for cert-manager's default (RSA 2048, ECDSA 256)."""


@dataclass(frozen=True)
class IssuedCertificate:
    """A signed certificate and what belongs to it, as PEM."""

    certificate: x509.Certificate
    chain: bytes
    key: bytes
    authority: bytes


def go_duration(text: str) -> timedelta:
    """Parse a Go duration of hours, minutes and seconds: ``2160h``, ``1h30m``.

    Raises:
        ValueError: The text is not a duration.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or match is None:
        raise ValueError(f"'{text}' is not a duration; write hours, minutes and seconds as in 2160h or 1h30m0s")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def issue(request: CertificateRequest, authority: Authority | None, now: datetime) -> IssuedCertificate:
    """Create a key and a certificate, signed by the authority, or by itself when there is none."""
    key = _new_key(request)
    name = certificates.subject(request.common_name)
    issuer, signer = (authority.certificate.subject, authority.key) if authority else (name, key)
    certificate = certificates.sign(
        key.public_key(), name, issuer, signer, start=now, lifetime=request.lifetime, names=request.names,
        is_ca=request.is_ca,
    )  # fmt: skip
    pem = certificate.public_bytes(Encoding.PEM)
    return IssuedCertificate(certificate, pem, certificates.key_pem(key), authority.pem if authority else pem)


def _new_key(request: CertificateRequest) -> PrivateKey:
    match request.algorithm:
        case "ECDSA":
            curves = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
            return ec.generate_private_key(curves[request.size or 256])
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=request.size or 2048)
