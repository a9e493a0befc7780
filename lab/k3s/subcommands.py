"""The small commands of `k3s` that Lyceum and its operators use: `token rotate` and `etcd-snapshot`."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

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

Verb = Callable[[Options], Coroutine[Any, Any, str]]

_LOCAL_API = "https://127.0.0.1:6443"

_TOKEN = (
    *(flag for flag in SERVER if flag.name in {"config", "data-dir", "server", "token", "debug"}),
    Flag("new-token", FlagType.TEXT),
)

_FAILURES = (KubernetesError, EtcdError, RefusedError, S3Error, snapshots.SnapshotError, tokens.TokenError, OSError)


def run_token(arguments: Sequence[str]) -> None:
    """`k3s token rotate`."""
    _run(arguments, _TOKEN, {"rotate": _rotate_token})


def run_snapshot(arguments: Sequence[str]) -> None:
    """`k3s etcd-snapshot save`, `prune`, `ls -o json`."""
    _run(arguments, SNAPSHOT, {"save": _save, "prune": _prune, "ls": _list, "list": _list})


def _run(arguments: Sequence[str], flags: Sequence[Flag], verbs: Mapping[str, Verb]) -> None:
    """Do what the first word says and print what it found; ends the process with 1 when it fails."""
    options, words = load(arguments, flags, os.environ, skip_unknown=True)
    word = words[0] if words else ""
    if word not in verbs:
        raise ConfigError(f"unknown command {word!r}; one of: {', '.join(verbs)}")
    try:
        log.print_output(asyncio.run(verbs[word](options)))
    except _FAILURES as error:
        log.fatal(str(error))


def _paths(options: Options) -> Paths:
    return Paths(Path(options.text("data-dir")))


def _kube(options: Options) -> KubeClient:
    tls = _paths(options).tls
    return KubeClient(_LOCAL_API, client_context(tls / "server-ca.crt", tls / "client-admin.crt"))


async def _rotate_token(options: Options) -> str:
    new = options.text("new-token") or tokens.random_password()
    current = options.text("token") or (_paths(options).server / "token").read_text().strip()
    supervisor = await SupervisorClient.connect(options.text("server") or _LOCAL_API, current, "server")
    try:
        await supervisor.request("PUT", "/v1-k3s/token", body=json.dumps({"newToken": new}).encode())
    finally:
        await supervisor.close()
    return "Token rotated, restart k3s nodes with new token"


@contextlib.asynccontextmanager
async def _manage(options: Options) -> AsyncIterator[SnapshotManager]:
    kube = _kube(options)
    try:
        yield SnapshotManager(options, _paths(options), Host.detect(options).name, kube)
    finally:
        await kube.close()


async def _save(options: Options) -> str:
    etcd = Etcd("https://127.0.0.1:2379", _paths(options))
    try:
        async with _manage(options) as manager:
            saved = await manager.save(etcd, options.text("name") or "on-demand")
    finally:
        await etcd.close()
    return "\n".join(f"Snapshot {name} saved." for name in saved)


async def _prune(options: Options) -> str:
    retention = int(options.text("snapshot-retention") or options.text("etcd-snapshot-retention"))
    async with _manage(options) as manager:
        removed = await manager.prune(options.text("name") or options.text("etcd-snapshot-name"), retention)
    return "\n".join(f"Snapshot {name} deleted." for name in removed)


async def _list(options: Options) -> str:
    if options.text("output") != "json":
        raise ConfigError("the lab's k3s lists snapshots as JSON only: -o json")
    async with _manage(options) as manager:
        found = await manager.list_all()
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [entry.as_object() for entry in found]})
