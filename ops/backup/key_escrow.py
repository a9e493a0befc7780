"""Escrow for the loss of the operators' machine: the seed, encrypted with a passphrase, and the engine's state, encrypted with the seed.

Both are stored beside the snapshots. Snapshots are decrypted with a token that is derived from the seed, so bucket and passphrase
together are enough to restore the cluster, and neither is enough alone. Pure functions.
"""

import base64
import json
import os
import zlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from config.key_derivation import derive_key, seed_fingerprint
from ops.backup.metadata import BackupError

ESCROW_OBJECT, STATE_OBJECT = "escrow.json", "state"
"""Names of the two objects in the bucket."""
MIN_PASSPHRASE_LENGTH = 12
"""Characters."""
_FORMAT = "lyceum-escrow-1"
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}
"""Each guess takes 128 MiB and a third of a second (RFC 7914)."""
_NONCE_BYTES = 12


class EscrowError(BackupError):
    """Not an escrow, changed, or not decrypted by this passphrase or seed."""


@dataclass(frozen=True)
class Escrow:
    """The part of an escrow that can be read without its passphrase.

    Attributes:
        site: Site whose seed it holds.
        made: Time at which it was written, UTC.
        seed: Fingerprint of the seed.
    """

    site: str
    made: str
    seed: str


def seal_seed(seed: str, site: str, made: str, passphrase: str) -> bytes:
    """Encrypts a seed with a passphrase. The readable fields are authenticated with it."""
    salt, nonce = os.urandom(16), os.urandom(_NONCE_BYTES)
    head = {
        "form": _FORMAT,
        "site": site,
        "made": made,
        "seed": seed_fingerprint(seed),
        "scrypt": _SCRYPT,
        "salt": salt.hex(),
    }
    sealed = nonce + AESGCM(_derive_key(passphrase, salt, _SCRYPT)).encrypt(
        nonce, seed.encode(), _associated_data(head)
    )
    return (json.dumps(head | {"sealed": base64.b64encode(sealed).decode()}, indent=1) + "\n").encode()


def read_escrow(content: bytes) -> Escrow:
    """The readable part of an escrow.

    Raises:
        EscrowError: the content is not an escrow.
    """
    head, _ = _parse_escrow(content)
    return Escrow(head["site"], head["made"], head["seed"])


def unseal_seed(content: bytes, passphrase: str) -> str:
    """Decrypts the seed of an escrow.

    Raises:
        EscrowError: the content is not an escrow, or the passphrase does not decrypt it.
    """
    head, sealed = _parse_escrow(content)
    key = _derive_key(passphrase, bytes.fromhex(head["salt"]), head["scrypt"])
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(head)).decode()
    except InvalidTag:
        raise EscrowError(
            f"the passphrase does not decrypt the escrow of {head['site']} from {head['made']}, or the escrow was changed"
        ) from None


def seal_state(state: str, seed: str, site: str) -> bytes:
    """Encrypts the engine's state with the seed."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _state_key(seed).encrypt(nonce, zlib.compress(state.encode()), site.encode())


def unseal_state(content: bytes, seed: str, site: str) -> str:
    """Decrypts the engine's state.

    Raises:
        EscrowError: it belongs to another site or seed, or was changed.
    """
    try:
        plain = _state_key(seed).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], site.encode())
    except InvalidTag:
        raise EscrowError(
            f"the engine's state in the store belongs to another site or seed than {site}'s, or was changed"
        ) from None
    return zlib.decompress(plain).decode()


def _state_key(seed: str) -> AESGCM:
    return AESGCM(derive_key(seed, "backup-state"))


def _derive_key(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost["n"], r=cost["r"], p=cost["p"]).derive(passphrase.encode())


def _associated_data(head: dict[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()


def _parse_escrow(content: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        head = json.loads(content)
        sealed = base64.b64decode(head.pop("sealed"))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise EscrowError("this is not an escrow of Lyceum") from None
    if head.get("form") != _FORMAT:
        raise EscrowError(f"the escrow has the format {head.get('form')}; this release reads {_FORMAT}")
    return head, sealed
