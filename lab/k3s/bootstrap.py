"""Bootstrap data: what a joining or restored server needs of the cluster, kept in etcd encrypted with the join token.

As in K3s: the key is `/bootstrap/<first 12 hex digits of the token's SHA-256>`, the value `<salt>:<base64>` of AES-GCM
under PBKDF2-SHA1 with 4096 rounds. Without the token, a snapshot is unusable.
"""

import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lab.k3s.paths import Paths, write_secret
from lab.k3s.pki import SHARED

PREFIX = "/bootstrap"
PASSWD = "cred/passwd"  # noqa: S105 - a path
"""Who may join with which token; part of the bootstrap data too."""
_SKEW = 3
"""Seconds by which a file may be newer than the cluster's copy of it (K3s, systemTimeSkew)."""
DIFFERENT_TOKEN = "bootstrap data already found and encrypted with different token"  # noqa: S105 (K3s's message)


class BootstrapError(Exception):
    """The bootstrap data cannot be read; the text is K3s's."""


class DifferentTokenError(BootstrapError):
    """The data were encrypted with another token."""


def storage_key(password: str) -> str:
    """Return the etcd key under which data encrypted with this password lies."""
    return f"{PREFIX}/{hashlib.sha256(password.encode()).hexdigest()[:12]}"


def _cipher(password: str, salt: str) -> AESGCM:
    return AESGCM(hashlib.pbkdf2_hmac("sha1", password.encode(), salt.encode(), 4096, 32))


def encrypt(password: str, plain: bytes) -> str:
    """Encrypt with a join token's password."""
    salt, nonce = secrets.token_hex(8), os.urandom(12)
    sealed = nonce + _cipher(password, salt).encrypt(nonce, plain, None)
    return f"{salt}:{base64.b64encode(sealed).decode()}"


def decrypt(password: str, value: str) -> bytes:
    """Decrypt; raises `BootstrapError` when the password is another one."""
    salt, _, encoded = value.partition(":")
    sealed = base64.b64decode(encoded)
    try:
        return _cipher(password, salt).decrypt(sealed[:12], sealed[12:], None)
    except InvalidTag as error:
        raise DifferentTokenError(DIFFERENT_TOKEN) from error


def find_stored(password: str, stored: Mapping[str, str]) -> bytes | None:
    """Pick and decrypt the cluster's data among what lies below `PREFIX`; None when there is none at all."""
    if not stored:
        return None
    value = stored.get(storage_key(password))
    if value is None:
        raise DifferentTokenError(DIFFERENT_TOKEN)
    return decrypt(password, value)


def pack_files(paths: Paths) -> bytes:
    """Return the shared files of this server as JSON: by name, the base64 of each and when it was last changed."""
    files = {name: paths.server / name for name in (*SHARED, PASSWD)}
    return json.dumps(
        {
            name: {"content": base64.b64encode(file.read_bytes()).decode(), "timestamp": int(file.stat().st_mtime)}
            for name, file in files.items()
            if file.exists()
        }
    ).encode()


def check_newer(paths: Paths, packed: bytes) -> None:
    """Refuse to start where this server's own `passwd` was changed after the cluster's copy was saved, as K3s does.

    K3s looks at every shared file; `passwd` is the one that changes by itself, with a changed token. A server that was
    started with a wrong token has such a file and is refused with the right token as well, until the file is removed.
    """
    saved, file = json.loads(packed).get(PASSWD), paths.server / PASSWD
    if saved is None or not file.exists() or file.read_bytes() == base64.b64decode(saved["content"]):
        return
    if file.stat().st_mtime - saved["timestamp"] >= _SKEW:
        raise BootstrapError(
            f"{file} newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart "
            "to be recreated from datastore."
        )


def unpack_files(paths: Paths, packed: bytes) -> None:
    """Write the shared files with the times of the cluster's copies; what is there and equal stays untouched."""
    for name, saved in json.loads(packed).items():
        if name not in (*SHARED, PASSWD):
            raise BootstrapError(f"bootstrap data names a file that no server shares: {name}")
        file, content = paths.server / name, base64.b64decode(saved["content"])
        if not file.exists() or file.read_bytes() != content:
            write_secret(file, content, 0o644 if name.endswith(".crt") else 0o600)
            os.utime(file, (time.time(), saved["timestamp"]))
