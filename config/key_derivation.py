"""What follows from a stack's seed. Pure: a seed in, text out, and no Pulumi, whose SDK takes half a second to import."""

import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

USER = "lyceum"
"""User that cloud-init makes and that Lyceum's key opens; may use sudo without a password."""


def derive_key(seed: str, purpose: str, length: int = 32) -> bytes:
    """Derives the secret for one purpose (RFC 5869); the same seed and purpose always give the same bytes."""
    return HKDF(hashes.SHA256(), length, salt=None, info=f"lyceum/{purpose}".encode()).derive(bytes.fromhex(seed))


def derive_password(seed: str, purpose: str) -> str:
    """Derives a password or token: 64 hex digits."""
    return derive_key(seed, purpose).hex()


def token_hash(token: str) -> str:
    """K3s's own way to tell tokens apart; it writes this beside every snapshot. The first 48 bits of SHA-256."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def ssh_key(seed: str) -> Ed25519PrivateKey:
    """The key that Lyceum logs in to nodes with."""
    return Ed25519PrivateKey.from_private_bytes(derive_key(seed, "ssh"))


def ssh_private_key_pem(seed: str) -> str:
    """PKCS#8, which has no random part: OpenSSH's own format would look changed at every run."""
    return (
        ssh_key(seed)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def ssh_public_key_line(seed: str) -> str:
    """One line of authorized_keys."""
    key = ssh_key(seed).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return f"{encoded} lyceum"


CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve (SEC 2, secp256r1)."""


def snapshot_key(seed: str) -> ec.EllipticCurvePrivateKey:
    """The key; the same seed gives the same one."""
    # 64 bits more than the order has make every key as likely as any other (FIPS 186-5, A.2.1).
    number = int.from_bytes(derive_key(seed, "ssh-backup", 40)) % (ORDER - 1) + 1
    return ec.derive_private_key(number, CURVE)


def snapshot_private_key_pem(seed: str) -> str:
    """SEC 1 has no random part, and every `ssh` reads it; an Ed25519 key would need OpenSSH's own format, which has."""
    return (
        snapshot_key(seed)
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        .decode()
    )


def snapshot_public_key_line(seed: str) -> str:
    """Type and key, as authorized_keys has them."""
    key = snapshot_key(seed).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def seed_fingerprint(seed: str) -> str:
    """Tells seeds apart and says nothing about them."""
    return derive_password(seed, "backup-fingerprint")[:16]
