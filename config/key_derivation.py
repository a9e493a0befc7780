"""What follows from a stack's seed. Pure: a seed in, text out, and no Pulumi, whose SDK takes half a second to import."""

import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

USER = "lyceum"
"""User that cloud-init makes and that Lyceum's key opens; may use sudo without a password."""


def derive(seed: str, purpose: str, length: int = 32) -> bytes:
    """Derives the secret for one purpose (RFC 5869); the same seed and purpose always give the same bytes."""
    return HKDF(hashes.SHA256(), length, salt=None, info=f"lyceum/{purpose}".encode()).derive(bytes.fromhex(seed))


def derived_text(seed: str, purpose: str) -> str:
    """Derives a password or token: 64 hex digits."""
    return derive(seed, purpose).hex()


def token_hash(token: str) -> str:
    """K3s's own way to tell tokens apart; it writes this beside every snapshot. The first 48 bits of SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def ssh_key(seed: str) -> Ed25519PrivateKey:
    """The key that Lyceum logs in to nodes with."""
    return Ed25519PrivateKey.from_private_bytes(derive(seed, "ssh"))


def ssh_private_pem(seed: str) -> str:
    """PKCS#8, which has no random part: OpenSSH's own format would look changed at every run."""
    return (
        ssh_key(seed)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def ssh_public_line(seed: str) -> str:
    """One line of authorized_keys."""
    key = ssh_key(seed).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return f"{encoded} lyceum"
