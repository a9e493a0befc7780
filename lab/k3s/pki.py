"""The certificates of a server: which exist, who signs them, and whose they are, in K3s's file names.

CAs and shared keys are the cluster's (made once, handed to joining servers); leaf certificates are each server's own.
"""

import base64
import datetime as dt
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from lab.certificates import CLIENT, SERVER, Authority, key_pem, sign, subject
from lab.k3s.config import Options
from lab.k3s.paths import Paths, write_secret

CA_DAYS = 3650
LEAF_DAYS = 365
RENEW_DAYS = 120
"""A start renews what expires sooner, as K3s does."""

_BACKDATED = dt.timedelta(minutes=5)
"""Clocks of a campus differ a little."""

AUTHORITIES = {
    "server-ca": "k3s-server-ca",
    "client-ca": "k3s-client-ca",
    "request-header-ca": "k3s-request-header-ca",
    "etcd/server-ca": "etcd-server-ca",
    "etcd/peer-ca": "etcd-peer-ca",
}

SHARED = (
    *(f"tls/{name}.{kind}" for name in AUTHORITIES for kind in ("crt", "key")),
    "tls/service.key",
    "cred/encryption-config.json",
    "cred/encryption-state.json",
    "cred/ipsec.psk",
)
"""Files below `server/` that all servers share: the bootstrap data that a joining server is given."""


@dataclass(frozen=True)
class Leaf:
    """A certificate of a server: file name below `tls/`, issuer, user and groups, and whether it serves."""

    file: str
    issuer: str
    user: str
    groups: tuple[str, ...] = ()
    serves: str = ""
    """`apiserver`, `etcd` or `local`: which names it carries; empty for client certificates."""


LEAVES = (
    Leaf("client-admin", "client-ca", "system:admin", ("system:masters",)),
    Leaf("client-supervisor", "client-ca", "system:k3s-supervisor", ("system:masters",)),
    Leaf("client-controller", "client-ca", "system:kube-controller-manager"),
    Leaf("client-scheduler", "client-ca", "system:kube-scheduler"),
    Leaf("client-kube-apiserver", "client-ca", "system:apiserver", ("system:masters",)),
    Leaf("client-auth-proxy", "request-header-ca", "system:auth-proxy"),
    Leaf("serving-kube-apiserver", "server-ca", "kube-apiserver", serves="apiserver"),
    Leaf("kube-controller-manager/kube-controller-manager", "server-ca", "kube-controller-manager", serves="local"),
    Leaf("kube-scheduler/kube-scheduler", "server-ca", "kube-scheduler", serves="local"),
    Leaf("etcd/client", "etcd/server-ca", "etcd-client"),
    Leaf("etcd/server-client", "etcd/server-ca", "etcd-server", serves="etcd"),
    Leaf("etcd/peer-server-client", "etcd/peer-ca", "etcd-peer", serves="etcd"),
)


def _utcnow() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def new_key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """Create a P-256 key; returns it and its PEM, in the form that K3s writes."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key_pem(key, PrivateFormat.TraditionalOpenSSL)


def read_authority(file: Path) -> Authority:
    """Read a CA from `<file>.crt` and `<file>.key`."""
    return Authority.from_pem(Path(f"{file}.crt").read_bytes(), Path(f"{file}.key").read_bytes())


def sign_leaf(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    user: str,
    groups: Sequence[str] = (),
    *,
    names: Sequence[str] = (),
    days: int = LEAF_DAYS,
    now: dt.datetime,
) -> bytes:
    """Sign a certificate of a Kubernetes user; with names it serves as server certificate too.

    Returns:
        PEM of the certificate followed by its issuer's.
    """
    certificate = sign(
        public_key, subject(user, groups), authority.certificate.subject, authority.key, names=names,
        usages=(CLIENT, SERVER) if names else (CLIENT,), start=now - _BACKDATED,
        lifetime=dt.timedelta(days=days) + _BACKDATED,
    )  # fmt: skip
    return certificate.public_bytes(Encoding.PEM) + authority.pem


def days_left(certificate: bytes, now: dt.datetime) -> float:
    """How many days the first certificate of a PEM file is still valid."""
    return (x509.load_pem_x509_certificate(certificate).not_valid_after_utc - now).total_seconds() / 86400


def encryption_config(provider: str) -> dict[str, object]:
    """Return an EncryptionConfiguration for Secrets with one new key, `aescbc` or `secretbox`."""
    key = {"name": f"{provider}key", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    return {
        "kind": "EncryptionConfiguration",
        "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [{"resources": ["secrets"], "providers": [{provider: {"keys": [key]}}, {"identity": {}}]}],
    }


def make_shared(paths: Paths, options: Options) -> None:
    """Create what a new cluster needs and this server does not have yet: CAs, service account key, encryption key."""
    now = _utcnow()
    for name, common_name in AUTHORITIES.items():
        if not (paths.tls / f"{name}.crt").exists():
            # K3s names them `k3s-server-ca@<unix time>`.
            full_name = f"{common_name}@{int(now.timestamp())}"
            authority = Authority.create(full_name, now - _BACKDATED, dt.timedelta(days=CA_DAYS) + _BACKDATED)
            write_secret(paths.tls / f"{name}.key", key_pem(authority.key, PrivateFormat.TraditionalOpenSSL))
            write_secret(paths.tls / f"{name}.crt", authority.pem, 0o644)
    service_key = paths.tls / "service.key"
    if not service_key.exists():
        # Service account tokens are signed with RSA, which every client library checks.
        key = rsa.generate_private_key(65537, 2048)
        write_secret(service_key, key_pem(key, PrivateFormat.TraditionalOpenSSL))
    if not (paths.cred / "ipsec.psk").exists():
        write_secret(paths.cred / "ipsec.psk", secrets.token_hex(48))
    encryption = paths.cred / "encryption-config.json"
    if options.on("secrets-encryption") and not encryption.exists():
        config = encryption_config(options.text("secrets-encryption-provider"))
        write_secret(encryption, json.dumps(config))
        write_secret(paths.cred / "encryption-state.json", json.dumps({"stage": "start", "current": config}))


def serving_names(options: Options, node_name: str, node_ip: str) -> tuple[str, ...]:
    """Return the names that the API server's certificate carries; a VIP is among them only if `tls-san` says so."""
    domain = options.text("cluster-domain")
    first_service = options.text("service-cidr").split("/")[0].rsplit(".", 1)[0] + ".1"
    service = [f"kubernetes.default.svc.{domain}", "kubernetes.default.svc", "kubernetes.default", "kubernetes"]
    names = [*service, "localhost", node_name, "127.0.0.1", "::1", first_service, node_ip, *options.many("tls-san")]
    return tuple(dict.fromkeys(names))


def _fingerprint(paths: Paths) -> str:
    authorities = b"".join((paths.tls / f"{name}.crt").read_bytes() for name in AUTHORITIES)
    return hashlib.sha256(authorities).hexdigest()


def make_leaves(paths: Paths, names: Sequence[str], node_ip: str) -> None:
    """Issue this server's certificates and kubeconfigs; what is valid long enough, for all names and CAs, is kept."""
    now = _utcnow()
    days = int(os.environ.get("CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS", LEAF_DAYS))
    local = ("localhost", "127.0.0.1", "::1")
    alternatives = {"": (), "apiserver": tuple(names), "etcd": (*local, node_ip), "local": local}
    record = paths.tls / "dynamic-cert.json"
    basis = json.dumps({"names": sorted(names), "authorities": _fingerprint(paths)})
    unchanged = record.exists() and record.read_text() == basis
    for leaf in LEAVES:
        file = paths.tls / f"{leaf.file}.crt"
        if file.exists() and unchanged and days_left(file.read_bytes(), now) > min(RENEW_DAYS, days / 3):
            continue
        key, pem = new_key()
        certificate = sign_leaf(
            read_authority(paths.tls / leaf.issuer), key.public_key(), leaf.user, leaf.groups,
            names=alternatives[leaf.serves], days=days, now=now,
        )  # fmt: skip
        write_secret(file.with_suffix(".key"), pem)
        write_secret(file, certificate, 0o644)
    for user in ("admin", "controller", "scheduler"):
        client = paths.tls / f"client-{user}.crt"
        config = kubeconfig("https://127.0.0.1:6443", paths.tls / "server-ca.crt", client, client.with_suffix(".key"))
        write_secret(paths.cred / f"{user}.kubeconfig", config)
    write_secret(record, basis)


def kubeconfig(server: str, authority: Path, certificate: Path, key: Path) -> str:
    """Return a kubeconfig with everything inside; names are `default`, as in K3s's k3s.yaml."""

    def inline(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    return f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {inline(authority)}
    server: {server}
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-certificate-data: {inline(certificate)}
    client-key-data: {inline(key)}
"""
