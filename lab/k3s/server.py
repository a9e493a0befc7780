"""`k3s server`: create, join or resume a cluster, run its components and a server's controllers."""

import asyncio
import datetime as dt
import hashlib
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from lab.certificates import client_context
from lab.k3s import (
    agent,
    bootstrap,
    components,
    kube_vip,
    kwok,
    log,
    manifests,
    membership,
    nodes,
    packaged,
    pki,
    placement,
    pod_network,
    real_node,
    snapshotfiles,
    snapshots,
    tokens,
)
from lab.k3s.client import RefusedError, SupervisorClient
from lab.k3s.cluster_join import ClusterJoin, Credentials, StartError, write_tokens
from lab.k3s.config import ConfigError, Options, check_server, critical_settings
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.host import Host, announce_ready
from lab.k3s.node import NodeError
from lab.k3s.paths import READY, Paths, write_secret
from lab.k3s.processes import ChildProcesses
from lab.k3s.release import running_version
from lab.k3s.s3 import S3Error
from lab.k3s.snapshot_manager import SnapshotManager
from lab.k3s.supervisor import Supervisor, SupervisorState
from lab.kubernetes import KubeClient, KubernetesError
from lab.real_pods import RealPods

_LOCAL_API = "https://127.0.0.1:6443"
_API_DEADLINE = 180.0
"""Seconds; three API servers may be starting on two cores."""


class Server:
    """One run of `k3s server`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.host = Host.detect(options)
        self.paths = Paths(Path(options.text("data-dir")))
        self.children = ChildProcesses()
        self.cluster_join = ClusterJoin(options, self.host, self.paths, self.children)
        self.pods = RealPods.read()
        self._began = time.monotonic()

    async def serve(self) -> None:
        """Run until a signal or the end of a component."""
        self.paths.reset_flag.unlink(missing_ok=True)
        credentials, etcd = await self.cluster_join.prepare()
        tls = self.paths.tls
        admin = client_context(tls / "server-ca.crt", tls / "client-supervisor.crt")
        kube = KubeClient(_LOCAL_API, admin)
        critical = critical_settings(self.options)
        state = SupervisorState(self.paths, etcd, kube, critical, credentials.server, credentials.agent, pods=self.pods)

        async def rotate(password: str) -> None:
            await self._rotate(etcd, state, credentials, password)

        state.rotate = rotate
        async with asyncio.TaskGroup() as tasks:
            supervisor = tasks.create_task(Supervisor(state).serve())
            await self._start_api(kube)
            # On a server that joins, controllers only stand by for those that lead elsewhere: they can wait.
            joins = bool(self.options.text("server"))
            if not joins:
                await self._start_controllers()
            await self._save_bootstrap(etcd, credentials)
            for item in (*kwok.ACCESS_RULES, snapshotfiles.CRD):
                await kube.apply(item, "k3s")
            if self.pods:
                await placement.mark_pods(kube, self.pods.images)
            state.ready = True
            routes = await self._start_node()
            await self._mark(kube)
            work = [*self._standing_work(kube, etcd, admin), *([routes] if routes else [])]
            standing = [supervisor, *(tasks.create_task(item) for item in work)]
            announce_ready()
            if joins:
                await self._start_controllers()
            log.info(f"k3s is up and running ({time.monotonic() - self._began:.1f} s)")
            name = await self.children.ended
            for task in standing:
                task.cancel()
            log.error(f"{name} ended")
        raise StartError(self.cluster_join.failure_reason() if name == "etcd" else f"{name} exited")

    async def _start_api(self, kube: KubeClient) -> None:
        self._write_kubeconfig()
        command = components.apiserver(self.paths, self.options, self.host.address, webhooks=self.pods is not None)
        await self.children.start("kube-apiserver", command)
        end = time.monotonic() + _API_DEADLINE
        while not await kube.is_ready():
            if self.children.ended.done():
                raise StartError("kube-apiserver exited; its last lines say why")
            if time.monotonic() > end:
                raise StartError(f"kube-apiserver is not ready after {_API_DEADLINE:.0f} s")
            await asyncio.sleep(0.1)

    async def _start_controllers(self) -> None:
        await self.children.start("kube-controller-manager", components.controller_manager(self.paths, self.options))
        config = None
        if self.pods:
            config = self.paths.server / "etc" / "kube-scheduler.yaml"
            settings = placement.scheduler_settings(
                self.paths.cred / "scheduler.kubeconfig", self.paths.tls / "server-ca.crt"
            )
            write_secret(config, settings)
        await self.children.start("kube-scheduler", components.scheduler(self.paths, self.options, config))

    def _write_kubeconfig(self) -> None:
        tls = self.paths.tls
        port = self.options.text("https-listen-port")
        config = pki.kubeconfig(
            f"https://127.0.0.1:{port}", tls / "server-ca.crt", tls / "client-admin.crt", tls / "client-admin.key"
        )
        write_secret(
            Path(self.options.text("write-kubeconfig")), config, int(self.options.text("write-kubeconfig-mode"), 8)
        )

    async def _save_bootstrap(self, etcd: Etcd, credentials: Credentials) -> None:
        stored = await etcd.get_prefix(bootstrap.PREFIX)
        if bootstrap.find_stored(credentials.server, stored) is None:
            value = bootstrap.encrypt(credentials.server, bootstrap.pack_files(self.paths))
            await etcd.put(bootstrap.storage_key(credentials.server), value)

    async def _rotate(self, etcd: Etcd, state: SupervisorState, credentials: Credentials, password: str) -> None:
        """Change the server token: this server's files, then the bootstrap data, encrypted again; the old copy is deleted.

        Other servers know the old token until they are started with the new one. With the token that is in use, this
        saves the bootstrap data as this server has it (K3s, pkg/server/handlers/token.go and pkg/cluster/storage.go).
        """
        if credentials.agent == credentials.server:
            credentials.agent = state.agent_password = password
        credentials.server = state.server_password = password
        write_tokens(self.paths, credentials)
        value = bootstrap.encrypt(password, bootstrap.pack_files(self.paths))
        await etcd.put(bootstrap.storage_key(password), value)
        for key in await etcd.get_prefix(bootstrap.PREFIX):
            if key != bootstrap.storage_key(password):
                await etcd.delete(key)

    async def _start_node(self) -> Coroutine[Any, Any, None] | None:
        """Register this server's own Node, through its own supervisor like any other.

        Returns:
            Work that goes on: the routes to real pods, where there are some.
        """
        token = (self.paths.server / "token").read_text().strip()
        while True:
            try:
                supervisor = await SupervisorClient.connect(_LOCAL_API, token, "server")
            except RefusedError:
                await asyncio.sleep(0.1)
                continue
            try:
                command = await agent.register_host(
                    self.host, self.paths, self.options, supervisor, role="server", api=_LOCAL_API
                )
            except RefusedError as error:
                log.info(f"Waiting to retrieve agent configuration; server is not ready: {error}")
                await asyncio.sleep(1 if error.status in {0, 503} else 5)
            else:
                if real_node.is_real(self.host) and self.pods:
                    node = real_node.RealNode(self.host, self.paths, self.options, self.pods, _LOCAL_API)
                    return await node.start(self.children)
                await self.children.start("kubelet (KWOK)", command)
                return self._follow_routes() if self.pods else None
            finally:
                await supervisor.close()

    async def _follow_routes(self) -> None:
        """The API server reaches webhooks, logs and Services of real pods directly."""
        assert self.pods is not None  # noqa: S101  # for the type checker
        tls = self.paths.tls
        kube = KubeClient(_LOCAL_API, client_context(tls / "server-ca.crt", tls / "client-supervisor.crt"))
        await pod_network.follow_nodes(kube, self.pods.nodes, self.host.name)

    async def _mark(self, kube: KubeClient) -> None:
        encryption = self.paths.cred / "encryption-config.json"
        digest = f"start-{hashlib.sha256(encryption.read_bytes()).hexdigest()}" if encryption.exists() else ""
        name = membership.member_name(self.paths, self.host.name)
        await nodes.mark_server(kube, self.host.name, name, self.host.address, digest)

    # Standing work.

    def _standing_work(self, kube: KubeClient, etcd: Etcd, admin: Any) -> list[Coroutine[Any, Any, None]]:
        self._write_packaged()
        deployer = manifests.ManifestDeployer(kube, self.paths.manifests, self.host.name)
        return [
            deployer.run(self.options.many("disable")),
            nodes.remove_deleted_nodes(kube, etcd),
            kube_vip.follow_daemonset(
                KubeClient(_LOCAL_API, admin, timeout=2.0), self.host.name, kube_vip.interface_of(self.host.address)
            ),
            self._scheduled_snapshots(etcd, kube),
        ]

    def _write_packaged(self) -> None:
        for name, text in packaged.packaged_manifests(self.options).items():
            file = self.paths.manifests / name
            if not file.exists() or file.read_text() != text:
                write_secret(file, text)
        for name in packaged.not_simulated(self.options):
            log.warning(f"packaged component {name} is not simulated in the lab; set disable: [{name}] to say so")

    async def _scheduled_snapshots(self, etcd: Etcd, kube: KubeClient) -> None:
        manager = SnapshotManager(self.options, self.paths, self.host.name, kube)
        await manager.sync_places({self.host.name}, manager.on_disk())
        if self.options.on("etcd-disable-snapshots"):
            return
        schedule = self.options.text("etcd-snapshot-schedule-cron")
        base, retention = self.options.text("etcd-snapshot-name"), int(self.options.text("etcd-snapshot-retention"))
        while True:
            now = dt.datetime.now(dt.UTC)
            # A little late rather than early: the next run is looked for after this moment.
            await asyncio.sleep((snapshots.next_run(schedule, now) - now).total_seconds() + 0.05)
            try:
                await manager.save(etcd, base)
                for old in await manager.prune(base, retention):
                    log.info(f"Removed snapshot {old}")
            except (EtcdError, OSError) as error:
                log.error(f"Failed to take etcd snapshot: {error}")


async def _run(options: Options) -> None:
    server = Server(options)
    work = asyncio.create_task(server.cluster_join.reset() if options.on("cluster-reset") else server.serve())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        log.info("Shutdown request received")
    finally:
        await server.children.stop_all()


def run(options: Options) -> None:
    """Check the settings, then serve; ends the process as K3s does, with a `fatal` line when something is wrong."""
    READY.unlink(missing_ok=True)
    try:
        check_server(options)
        agent.check_host(options)
        log.info(f"Starting k3s {running_version()}")
        asyncio.run(_run(options))
    except (ConfigError, NodeError) as error:
        log.fatal(str(error))
    except BaseExceptionGroup as group:
        log.fatal(f"starting kubernetes: {_first_error(group)}")
    except (
        StartError,
        RefusedError,
        KubernetesError,
        EtcdError,
        tokens.TokenError,
        bootstrap.BootstrapError,
        membership.MembershipError,
        snapshots.SnapshotError,
        S3Error,
    ) as error:
        log.fatal(f"starting kubernetes: preparing server: {error}")


def _first_error(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
