"""Keys, tokens and passwords derived from a stack's seed. Pure, and without Pulumi, whose import takes half a second."""

import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

USER = "lyceum"
"""User that cloud-init creates for Lyceum's SSH key; may use sudo without a password."""


def derive_key(seed: str, purpose: str, length: int = 32) -> bytes:
    """Derives the secret for one purpose (RFC 5869); the same seed and purpose always give the same bytes."""
    return HKDF(hashes.SHA256(), length, salt=None, info=f"lyceum/{purpose}".encode()).derive(bytes.fromhex(seed))


def derive_password(seed: str, purpose: str) -> str:
    """Derives a password or a token: 64 hex digits."""
    return derive_key(seed, purpose).hex()


def token_hash(token: str) -> str:
    """K3s's hash of a token, which it stores with every snapshot: the first 48 bits of SHA-256, in hex."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def ssh_key(seed: str) -> Ed25519PrivateKey:
    """The SSH key with which Lyceum logs in to nodes."""
    return Ed25519PrivateKey.from_private_bytes(derive_key(seed, "ssh"))


def ssh_private_key_pem(seed: str) -> str:
    """The SSH key in PKCS#8, which has no random part: OpenSSH's own format would differ at every run."""
    return (
        ssh_key(seed)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def ssh_public_key_line(seed: str) -> str:
    """Line of authorized_keys for the SSH key."""
    key = ssh_key(seed).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return f"{encoded} lyceum"


CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the curve (SEC 2, secp256r1)."""


def snapshot_key(seed: str) -> ec.EllipticCurvePrivateKey:
    """The key that reads etcd snapshots from the servers and can do nothing else; the same seed gives the same key."""
    # With 64 bits more than the order, all keys are equally likely (FIPS 186-5, A.2.1).
    number = int.from_bytes(derive_key(seed, "ssh-backup", 40)) % (ORDER - 1) + 1
    return ec.derive_private_key(number, CURVE)


def snapshot_private_key_pem(seed: str) -> str:
    """The snapshot key in SEC 1, which has no random part and which every `ssh` reads (Ed25519 needs OpenSSH's own format)."""
    return (
        snapshot_key(seed)
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        .decode()
    )


def snapshot_public_key_line(seed: str) -> str:
    """Type and key of the snapshot key, as in authorized_keys."""
    key = snapshot_key(seed).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def seed_fingerprint(seed: str) -> str:
    """Identifies a seed without revealing it: 16 hex digits."""
    return derive_password(seed, "backup-fingerprint")[:16]
