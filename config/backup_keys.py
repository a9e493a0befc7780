"""The key that fetches etcd snapshots from the servers and may do nothing else; derived from the stack's seed."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config.key_derivation import derive, derived_text

CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve (SEC 2, secp256r1)."""


def backup_key(seed: str) -> ec.EllipticCurvePrivateKey:
    """The key; the same seed gives the same one."""
    # 64 bits more than the order has make every key as likely as any other (FIPS 186-5, A.2.1).
    number = int.from_bytes(derive(seed, "ssh-backup", 40)) % (ORDER - 1) + 1
    return ec.derive_private_key(number, CURVE)


def private_pem(seed: str) -> str:
    """SEC 1 has no random part, and every `ssh` reads it; an Ed25519 key would need OpenSSH's own format, which has."""
    return (
        backup_key(seed)
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        .decode()
    )


def public_line(seed: str) -> str:
    """Type and key, as authorized_keys has them."""
    key = backup_key(seed).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def fingerprint(seed: str) -> str:
    """Tells seeds apart and says nothing about them."""
    return derived_text(seed, "backup-fingerprint")[:16]
