"""What survives the loss of the operators' machine: the seed under a passphrase, and the engine's state under the seed.

Both lie beside the snapshots. A snapshot is opened by a token that is derived from the seed, so whoever has bucket and passphrase has
the cluster again, and nobody else has anything. Pure: texts in, texts out.
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
"""Names of the two beside the snapshots."""
MIN_PASSPHRASE_LENGTH = 12
"""Characters of a passphrase."""
_FORMAT = "lyceum-escrow-1"
_SCRYPT = {"n": 2**17, "r": 8, "p": 1}
"""128 MiB and a third of a second for each guess (RFC 7914)."""
_NONCE_BYTES = 12


class EscrowError(BackupError):
    """It is none, was changed, or the passphrase is another one."""


@dataclass(frozen=True)
class Escrow:
    """What an escrow says without its passphrase.

    Attributes:
        site: Whose seed.
        made: When, UTC.
        seed: Fingerprint of the seed in it.
    """

    site: str
    made: str
    seed: str


def seal_seed(seed: str, site: str, made: str, passphrase: str) -> bytes:
    """Puts a seed under a passphrase; everything readable in it is bound to what is not."""
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
    """What an escrow says about itself.

    Raises:
        EscrowError: it is none.
    """
    head, _ = _parse_escrow(content)
    return Escrow(head["site"], head["made"], head["seed"])


def unseal_seed(content: bytes, passphrase: str) -> str:
    """Takes the seed out.

    Raises:
        EscrowError: it is no escrow, or the passphrase does not open it.
    """
    head, sealed = _parse_escrow(content)
    key = _derive_key(passphrase, bytes.fromhex(head["salt"]), head["scrypt"])
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(head)).decode()
    except InvalidTag:
        raise EscrowError(
            f"the passphrase does not open the escrow of {head['site']} made {head['made']}, or somebody changed it"
        ) from None


def seal_state(state: str, seed: str, site: str) -> bytes:
    """Puts the engine's state under the seed."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _state_key(seed).encrypt(nonce, zlib.compress(state.encode()), site.encode())


def unseal_state(content: bytes, seed: str, site: str) -> str:
    """Takes the engine's state out.

    Raises:
        EscrowError: it is of another site or another seed, or was changed.
    """
    try:
        plain = _state_key(seed).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], site.encode())
    except InvalidTag:
        raise EscrowError(f"the engine's state in the store is not of {site} and this seed, or was changed") from None
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
        raise EscrowError("that is no escrow of Lyceum") from None
    if head.get("form") != _FORMAT:
        raise EscrowError(f"that is an escrow of another form ({head.get('form')}); this release reads {_FORMAT}")
    return head, sealed
