"""The small commands of `k3s` that Lyceum and its operators use: `token rotate` and `etcd-snapshot`."""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

from lab.certificates import client_context
from lab.k3s import log, snapshots, tokens
from lab.k3s.client import RefusedError, SupervisorClient
from lab.k3s.config import ConfigError, Options, load
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.flags import SERVER, SNAPSHOT, Flag, FlagType
from lab.k3s.host import Host
from lab.k3s.paths import Paths
from lab.k3s.s3 import S3Error
from lab.k3s.snapshot_manager import SnapshotManager
from lab.kubernetes import KubeClient, KubernetesError

_LOCAL_API = "https://127.0.0.1:6443"

_TOKEN = (
    *(flag for flag in SERVER if flag.name in {"config", "data-dir", "server", "token", "debug"}),
    Flag("new-token", FlagType.TEXT),
)


def run(name: str, arguments: Sequence[str]) -> None:
    """Run one of the small commands and print what it found; ends the process with 1 when it fails."""
    command, flags = {"token": (_run_token, _TOKEN), "etcd-snapshot": (_run_snapshot, SNAPSHOT)}[name]
    options, words = load(arguments, flags, os.environ, skip_unknown=True)
    try:
        log.print_output(command(options, words))
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


def _choose_verb(words: Sequence[str], known: Sequence[str]) -> str:
    word = words[0] if words else ""
    if word not in known:
        raise ConfigError(f"unknown command {word!r}; one of: {', '.join(known)}")
    return word


def _run_token(options: Options, words: Sequence[str]) -> str:
    _choose_verb(words, ("rotate",))
    return asyncio.run(_rotate_token(options))


async def _rotate_token(options: Options) -> str:
    new = options.text("new-token") or tokens.random_password()
    current = options.text("token") or (_paths(options).server / "token").read_text().strip()
    supervisor = await SupervisorClient.connect(options.text("server") or _LOCAL_API, current, "server")
    try:
        await supervisor.request("PUT", "/v1-k3s/token", body=json.dumps({"newToken": new}).encode())
    finally:
        await supervisor.close()
    return "Token rotated, restart k3s nodes with new token"


def _run_snapshot(options: Options, words: Sequence[str]) -> str:
    word = _choose_verb(words, ("save", "ls", "list", "l", "delete", "prune"))
    return asyncio.run(_manage_snapshots(options, word, words[1:]))


async def _manage_snapshots(options: Options, word: str, names: Sequence[str]) -> str:
    paths, kube = _paths(options), _kube(options)
    manager = SnapshotManager(options, paths, Host.detect(options).name, kube)
    try:
        if word == "save":
            etcd = Etcd("https://127.0.0.1:2379", paths)
            try:
                saved = await manager.save(etcd, options.text("name") or "on-demand")
            finally:
                await etcd.close()
            return "\n".join(f"Snapshot {name} saved." for name in saved)
        if word == "delete":
            return "\n".join(f"Snapshot {name} deleted." for name in await manager.delete(list(names)))
        if word == "prune":
            retention = int(options.text("snapshot-retention") or options.text("etcd-snapshot-retention"))
            removed = await manager.prune(options.text("name") or options.text("etcd-snapshot-name"), retention)
            return "\n".join(f"Snapshot {name} deleted." for name in removed)
        found = await manager.list_all()
    finally:
        await kube.close()
    if options.text("output") == "json":
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": [entry.as_object() for entry in found]})
    rows = [f"{entry.name} {entry.location} {entry.size} {entry.created:%Y-%m-%dT%H:%M:%SZ}" for entry in found]
    return "\n".join(["Name Location Size Created", *rows])
