"""Node passwords: a host proves with its own secret that it is the one that registered its name first.

As in K3s: the host keeps the password in /etc/rancher/node/password, the cluster keeps a scrypt hash in the immutable
Secret `<node>.node-password.k3s` of kube-system, which goes when the Node is deleted.
"""

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from lab.k3s.paths import NODE_PASSWORD, write_secret
from lab.kubernetes import KubeClient, KubernetesError

_LOG_N, _R, _P = 15, 8, 1


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**_LOG_N, r=_R, p=_P, maxmem=2**26, dklen=64)


def hash_password(password: str) -> str:
    """Return `$1:<salt>:<log2 N>:<r>:<p>:<key>`, K3s's form."""
    salt = secrets.token_bytes(8)
    key = base64.b64encode(_hash(password, salt)).decode()
    return f"$1:{salt.hex()}:{_LOG_N}:{_R}:{_P}:{key}"


def matches(hashed: str, password: str) -> bool:
    """Return whether a password has this hash."""
    _, salt, _, _, _, key = hashed.split(":")
    return hmac.compare_digest(base64.b64decode(key), _hash(password, bytes.fromhex(salt)))


def secret_path(node_name: str) -> str:
    """Return the API path of a node's password Secret."""
    return f"/api/v1/namespaces/kube-system/secrets/{node_name.lower()}.node-password.k3s"


def rejection_message() -> str:
    """Return what a rejected node says in its log."""
    return (
        f"Node password rejected, duplicate hostname or contents of '{NODE_PASSWORD}' may not match server node-passwd "
        "entry, try enabling a unique node name with the --with-node-id flag"
    )


def read_or_create(file: Path = NODE_PASSWORD) -> str:
    """Return this host's password, made once."""
    if not file.exists():
        write_secret(file, f"{secrets.token_hex(16)}\n")
    return file.read_text().strip()


async def verify_or_register(kube: KubeClient, node_name: str, password: str) -> bool:
    """Register a node's password, or verify it; returns whether it is right."""
    stored = await kube.get(secret_path(node_name))
    if stored is None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{node_name.lower()}.node-password.k3s", "namespace": "kube-system"},
            "immutable": True,
            "stringData": {"hash": hash_password(password)},
        }
        try:
            await kube.call("POST", "/api/v1/namespaces/kube-system/secrets", body)
        except KubernetesError as error:
            if error.status != 409:
                raise
            stored = await kube.get(secret_path(node_name))
    if stored is None:
        return True
    return matches(base64.b64decode(stored["data"]["hash"]).decode(), password)
