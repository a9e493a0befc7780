"""The small commands of `k3s`: tokens, snapshots, certificates, encryption status, a check of the host."""

import asyncio
import datetime as dt
import json
import os
import secrets
import shutil
import string
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography import x509

from lab.certificates import client_context
from lab.k3s import log, pki, snapshots, tokens
from lab.k3s.client import RefusedError, SupervisorClient
from lab.k3s.config import ConfigError, Options, load
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.flags import SERVER, SNAPSHOT, Flag, Kind
from lab.k3s.host import Host, kernel_settings
from lab.k3s.node import NodeError, check_kernel
from lab.k3s.paths import Paths
from lab.k3s.s3 import S3Error
from lab.k3s.snapshot_manager import Keeper
from lab.kubernetes import KubeClient, KubernetesError

__all__ = ["run"]

_LOCAL_API = "https://127.0.0.1:6443"
_SECRETS = "/api/v1/namespaces/kube-system/secrets"
_GROUP = "system:bootstrappers:k3s:default-node-token"

_TOKEN = (
    *(flag for flag in SERVER if flag.name in {"config", "data-dir", "server", "token", "debug"}),
    Flag("new-token", Kind.TEXT),
    Flag("description", Kind.TEXT),
    Flag("ttl", Kind.DURATION),
    Flag("groups", Kind.LIST),
    Flag("usages", Kind.LIST),
    Flag("output", Kind.TEXT, "o"),
    Flag("kubeconfig", Kind.TEXT),
)
_PLAIN = (*(flag for flag in SERVER if flag.name in {"config", "data-dir", "server", "token", "debug"}),)
_CERTIFICATE = (*_PLAIN, Flag("service", Kind.LIST), Flag("output", Kind.TEXT, "o"))


def run(name: str, arguments: Sequence[str]) -> None:
    """Run one of the small commands and print what it found; ends the process with 1 when it fails."""
    flags: Mapping[str, Sequence[Flag]] = {"token": _TOKEN, "etcd-snapshot": SNAPSHOT, "certificate": _CERTIFICATE}
    options, words = load(arguments, flags.get(name, _PLAIN), os.environ, skip_unknown=True)
    commands: Mapping[str, Callable[[Options, Sequence[str]], str]] = {
        "token": _token,
        "etcd-snapshot": _snapshot,
        "secrets-encrypt": _secrets_encrypt,
        "certificate": _certificate,
        "check-config": _check_config,
    }
    try:
        log.say(commands[name](options, words))
    except (
        KubernetesError,
        EtcdError,
        RefusedError,
        S3Error,
        snapshots.SnapshotError,
        tokens.TokenError,
        OSError,
    ) as error:
        log.fatal(str(error))


def _paths(options: Options) -> Paths:
    return Paths(Path(options.text("data-dir")))


def _kube(options: Options) -> KubeClient:
    tls = _paths(options).tls
    return KubeClient(_LOCAL_API, client_context(tls / "server-ca.crt", tls / "client-admin.crt"))


def _which(words: Sequence[str], known: Sequence[str]) -> str:
    word = words[0] if words else ""
    if word not in known:
        raise ConfigError(f"unknown command {word!r}; one of: {', '.join(known)}")
    return word


# Tokens.


def _token(options: Options, words: Sequence[str]) -> str:
    word = _which(words, ("create", "delete", "list", "generate", "rotate"))
    if word == "generate":
        return _new_token()
    if word == "rotate":
        return asyncio.run(_rotate_token(options))
    if word == "create":
        return asyncio.run(_create_token(options, words[1] if len(words) > 1 else _new_token()))
    if word == "delete":
        return asyncio.run(_delete_tokens(options, words[1:]))
    return asyncio.run(_list_tokens(options))


def _new_token() -> str:
    letters = string.ascii_lowercase + string.digits
    identifier, secret = ("".join(secrets.choice(letters) for _ in range(length)) for length in (6, 16))
    return f"{identifier}.{secret}"


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as `24h` or `1h30m`."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, number = 0.0, ""
    for letter in duration.replace("ms", ""):
        if letter in units:
            total, number = total + float(number) * units[letter], ""
        else:
            number += letter
    return total


async def _create_token(options: Options, token: str) -> str:
    if not tokens.parse(token).bootstrap:
        raise ConfigError(f"the bootstrap token {token!r} was not of the form [a-z0-9]{{6}}.[a-z0-9]{{16}}")
    identifier, secret = token.split(".")
    data = {
        "token-id": identifier,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": ",".join(options.many("groups")) or _GROUP,
        "description": options.text("description"),
    }
    ttl = seconds(options.text("ttl") or "24h")
    if ttl:
        data["expiration"] = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ttl)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{identifier}", "namespace": "kube-system"},
        "stringData": data,
    }
    kube = _kube(options)
    try:
        await kube.call("POST", _SECRETS, body)
    finally:
        await kube.close()
    return tokens.secure(token, (_paths(options).tls / "server-ca.crt").read_bytes())


async def _delete_tokens(options: Options, names: Sequence[str]) -> str:
    kube = _kube(options)
    try:
        for name in names:
            await kube.delete(f"{_SECRETS}/bootstrap-token-{name.partition('.')[0]}")
    finally:
        await kube.close()
    return "\n".join(f'bootstrap token "{name}" deleted' for name in names)


async def _list_tokens(options: Options) -> str:
    kube = _kube(options)
    try:
        listed = await kube.call("GET", _SECRETS, query={"fieldSelector": "type=bootstrap.kubernetes.io/token"})
    finally:
        await kube.close()
    names = [item["metadata"]["name"].removeprefix("bootstrap-token-") for item in listed.get("items", [])]
    return "\n".join(["TOKEN ID", *names])


async def _rotate_token(options: Options) -> str:
    new = options.text("new-token") or tokens.random_password()
    current = options.text("token") or (_paths(options).server / "token").read_text().strip()
    supervisor = await SupervisorClient.connect(options.text("server") or _LOCAL_API, current, "server")
    try:
        await supervisor.request("PUT", "/v1-k3s/token", body=json.dumps({"newToken": new}).encode())
    finally:
        await supervisor.close()
    return "Token rotated, restart k3s nodes with new token"


# Snapshots.


def _snapshot(options: Options, words: Sequence[str]) -> str:
    word = _which(words, ("save", "ls", "list", "l", "delete", "prune"))
    return asyncio.run(_keep(options, word, words[1:]))


async def _keep(options: Options, word: str, names: Sequence[str]) -> str:
    paths, kube = _paths(options), _kube(options)
    keeper = Keeper(options, paths, Host.detect(options).name, kube)
    try:
        if word == "save":
            etcd = Etcd("https://127.0.0.1:2379", paths)
            try:
                saved = await keeper.save(etcd, options.text("name") or "on-demand")
            finally:
                await etcd.close()
            return "\n".join(f"Snapshot {name} saved." for name in saved)
        if word == "delete":
            return "\n".join(f"Snapshot {name} deleted." for name in await keeper.delete(list(names)))
        if word == "prune":
            retention = int(options.text("snapshot-retention") or options.text("etcd-snapshot-retention"))
            removed = await keeper.prune(options.text("name") or options.text("etcd-snapshot-name"), retention)
            return "\n".join(f"Snapshot {name} deleted." for name in removed)
        found = await keeper.listed()
    finally:
        await kube.close()
    if options.text("output") == "json":
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": [entry.as_object() for entry in found]})
    rows = [f"{entry.name} {entry.location} {entry.size} {entry.created:%Y-%m-%dT%H:%M:%SZ}" for entry in found]
    return "\n".join(["Name Location Size Created", *rows])


# Encryption, certificates, the host.


def _secrets_encrypt(options: Options, words: Sequence[str]) -> str:
    _which(words, ("status",))
    file = _paths(options).cred / "encryption-config.json"
    if not file.exists():
        return "Encryption Status: Disabled, no configuration file found"
    config = json.loads(file.read_text())
    kinds = {"aescbc": "AES-CBC", "secretbox": "XSalsa20-POLY1305"}
    rows = [
        f" *      {kinds[provider]}  {key['name']}"
        for entry in config["resources"]
        for item in entry["providers"]
        for provider, settings in item.items()
        if provider in kinds
        for key in settings["keys"]
    ]
    head = "Encryption Status: Enabled\nCurrent Rotation Stage: start\nServer Encryption Hashes: All hashes match\n"
    return "\n".join([head, "Active  Key Type  Name", "------  --------  ----", *rows])


def _certificate(options: Options, words: Sequence[str]) -> str:
    word = _which(words, ("check", "rotate"))
    paths = _paths(options)
    files = sorted(file for file in paths.tls.rglob("*.crt") if not file.stem.endswith("-ca"))
    if word == "rotate":
        saved = paths.server / f"tls-{int(time.time())}"
        shutil.copytree(paths.tls, saved)
        for file in [*files, paths.tls / "dynamic-cert.json"]:
            file.unlink(missing_ok=True)
        return (
            f"Successfully backed up certificates to {saved}, please restart k3s server or agent to rotate certificates"
        )
    now = dt.datetime.now(dt.UTC)
    rows = []
    for file in files:
        content = file.read_bytes()
        certificate, left = x509.load_pem_x509_certificate(content), pki.days_left(content, now)
        status = "EXPIRED" if left <= 0 else "WARNING" if left < pki.RENEW_DAYS else "OK"
        expires = certificate.not_valid_after_utc
        rows.append(
            f"{file.name} {certificate.subject.rfc4514_string()} {expires:%b %d, %Y %H:%M UTC} {int(left)}d {status}"
        )
    return "\n".join(["FILENAME SUBJECT EXPIRES RESIDUAL STATUS", *rows])


def _check_config(_: Options, words: Sequence[str]) -> str:
    if words:
        raise ConfigError(f"check-config takes no argument: {words[0]}")
    lines = ["Verifying binaries in /opt/lyceum-lab/bin:", "- kube, kwok: the lab's"]
    try:
        check_kernel(kernel_settings())
    except NodeError as error:
        lines += ["System:", f"- kernel parameters: {error} (only protect-kernel-defaults minds)"]
    return "\n".join([*lines, "STATUS: pass"])
