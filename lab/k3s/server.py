"""`k3s server`: found, join or resume a cluster, run its components, and do a server's standing work."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.k3s import (
    agent,
    bootstrap,
    components,
    kwok,
    log,
    manifests,
    membership,
    nodes,
    packaged,
    pki,
    snapshots,
    tokens,
    vip,
)
from lab.k3s.client import RefusedError, SupervisorClient
from lab.k3s.config import ConfigError, Options, check_server, critical
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.host import Host, announce_ready
from lab.k3s.kube import ApiError, Kube
from lab.k3s.node import NodeError
from lab.k3s.paths import READY, Paths, write_secret
from lab.k3s.processes import Children
from lab.k3s.release import running_version
from lab.k3s.supervisor import State, Supervisor
from lab.k3s.tls import client_context

__all__ = ["run"]

_LOCAL_API = "https://127.0.0.1:6443"
_LOCAL_ETCD = "https://127.0.0.1:2379"
_API_DEADLINE = 180.0
"""Seconds; three API servers may be starting on two cores."""

_ETCD_DEADLINE = 120.0
_LEARNER_PATIENCE = 2.0
_JOIN_ATTEMPTS = 5


class StartError(Exception):
    """The server cannot start; the text is what K3s logs after `starting kubernetes: preparing server: `."""


@dataclass
class Credentials:
    """The cluster's join secrets."""

    server: str
    agent: str


class Server:
    """One run of `k3s server`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.host = Host.detect(options)
        self.paths = Paths(Path(options.text("data-dir")))
        self.children = Children()
        self.peer_url = f"https://{self.host.address}:2380"
        self._etcd_removed = False
        self._began = time.monotonic()

    # Preparation: credentials, certificates, a running etcd of which this server is a voter.

    async def prepare(self) -> tuple[Credentials, Etcd]:
        """Bring up etcd as a voter and return what the rest of the server needs."""
        self.paths.prepare_server()
        snapshots.sweep(snapshots.directory(self.paths, self.options))
        self._bury_removed_member()
        if (self.paths.etcd / "member").exists():
            credentials = self._stored_credentials()
            etcd = await self._resume(credentials)
        elif self.options.text("server"):
            credentials, etcd = await self._join()
        else:
            credentials, etcd = await self._found()
        self._write_tokens(credentials)
        return credentials, etcd

    def _bury_removed_member(self) -> None:
        if self.paths.tombstone.exists():
            log.info("etcd tombstone found: moving the data of the removed member aside, joining anew")
            self.paths.etcd.rename(self.paths.etcd.with_name(f"etcd-old-{int(time.time())}"))
            self.paths.prepare_server()

    def _given(self, name: str) -> str:
        text = self.options.secret(name)
        return tokens.parse(text).password if text else ""

    def _stored_credentials(self) -> Credentials:
        stored = self.paths.server / "token"
        server = self._given("token") or (tokens.parse(stored.read_text().strip()).password if stored.exists() else "")
        if not server:
            raise StartError("no token: neither the token setting nor server/token exists")
        return Credentials(server, self._given("agent-token") or server)

    def _write_tokens(self, credentials: Credentials) -> None:
        bundle = (self.paths.tls / "server-ca.crt").read_bytes()
        write_secret(self.paths.server / "token", tokens.secure(f"server:{credentials.server}", bundle) + "\n")
        agent_file, node_file = self.paths.server / "agent-token", self.paths.server / "node-token"
        write_secret(agent_file, tokens.secure(f"node:{credentials.agent}", bundle) + "\n")
        node_file.unlink(missing_ok=True)
        node_file.symlink_to(self.paths.server / "token")
        passwd = f"{credentials.server},server,server,k3s:server\n{credentials.agent},node,node,k3s:agent\n"
        write_secret(self.paths.cred / "passwd", passwd)

    def _make_leaves(self) -> None:
        names = pki.serving_names(self.options, self.host.name, self.host.address)
        pki.make_leaves(self.paths, names, self.host.address)

    def _etcd_command(self, initial_cluster: str, *, new: bool) -> list[str]:
        name = membership.member_name(self.paths, self.host.name)
        return components.etcd(self.paths, self.options, name, self.host.address, initial_cluster, new=new)

    async def _start_etcd(self, initial_cluster: str = "", *, new: bool = False, force: bool = False) -> Etcd:
        command = self._etcd_command(initial_cluster, new=new)
        if force:
            command.append("--force-new-cluster")
        await self.children.start("etcd", command, on_line=self._watch_etcd)
        etcd = Etcd(_LOCAL_ETCD, self.paths)
        if not await self._answers(etcd, _ETCD_DEADLINE):
            raise StartError(self._etcd_failure())
        return etcd

    async def _answers(self, etcd: Etcd, seconds: float) -> bool:
        """Wait until etcd tells its status; returns whether it did in time and before it ended."""
        end = time.monotonic() + seconds
        while not self.children.ended.done() and time.monotonic() < end:
            try:
                await etcd.status()
            except EtcdError:
                await asyncio.sleep(0.1)
            else:
                return True
        return False

    def _watch_etcd(self, line: str) -> bool:
        if "permanently removed" in line or "server has been removed" in line:
            self._etcd_removed = True
            self.paths.tombstone.touch()
        return "gRPC-gateway" not in line

    def _etcd_failure(self) -> str:
        if self._etcd_removed:
            return "this node has been removed from the cluster please restart k3s to rejoin the cluster"
        return "etcd exited; its last lines say why"

    async def _found(self) -> tuple[Credentials, Etcd]:
        server = self._given("token") or tokens.random_password()
        pki.make_shared(self.paths, self.options)
        if self.options.secret("token"):
            tokens.check_ca(tokens.parse(self.options.secret("token")), (self.paths.tls / "server-ca.crt").read_bytes())
        self._make_leaves()
        name = membership.member_name(self.paths, self.host.name)
        etcd = await self._start_etcd(f"{name}={self.peer_url}", new=True)
        return Credentials(server, self._given("agent-token") or server), etcd

    async def _join(self) -> tuple[Credentials, Etcd]:
        url, token = self.options.text("server"), self.options.secret("token")
        if not token:
            raise StartError("--token is required to join a cluster")
        supervisor = await SupervisorClient.connect(url, token, "server")
        try:
            packed = await supervisor.request("GET", "/v1-k3s/server-bootstrap")
            remote = json.loads(await supervisor.request("GET", "/v1-k3s/config"))
            self._compare(remote["critical"])
            clients = json.loads(await supervisor.request("GET", "/db/info"))["clients"]
        finally:
            await supervisor.close()
        bootstrap.unpack(self.paths, packed)
        self._make_leaves()
        name = membership.member_name(self.paths, self.host.name)
        async with self._any_of(clients) as cluster:
            initial = await membership.announce(cluster, name, self.peer_url)
            await self.children.start("etcd", self._etcd_command(initial, new=False), on_line=self._watch_etcd)
            etcd = Etcd(_LOCAL_ETCD, self.paths)
            for _ in range(_JOIN_ATTEMPTS):
                if await self._answers(etcd, _LEARNER_PATIENCE):
                    break
                # Two things that a second start cures. Another server was announced meanwhile, and etcd compares the
                # list of members. Or: a new member proposes its name through raft, and when the snapshot that it is
                # sent holds that entry already, it waits ten seconds for an answer that has passed.
                initial = await membership.announce(cluster, name, self.peer_url)
                await self.children.stop("etcd", 0)
                await self.children.start("etcd", self._etcd_command(initial, new=False), on_line=self._watch_etcd)
        if not await self._answers(etcd, _ETCD_DEADLINE):
            raise StartError(self._etcd_failure())
        await membership.promote(etcd, self.paths, clients)
        server = tokens.parse(token).password
        return Credentials(server, self._given("agent-token") or server), etcd

    def _compare(self, theirs: dict[str, str]) -> None:
        different = [name for name, value in critical(self.options).items() if theirs.get(name, value) != value]
        for name in different:
            log.error(f"critical configuration mismatched: {name}: {critical(self.options)[name]} != {theirs[name]}")
        if different:
            raise StartError(
                "failed to validate server configuration: critical configuration value mismatch between servers: "
                + ", ".join(different)
            )

    @contextlib.asynccontextmanager
    async def _any_of(self, clients: list[str]) -> AsyncIterator[Etcd]:
        for url in clients:
            etcd = Etcd(url, self.paths)
            try:
                await etcd.members()
            except EtcdError:
                await etcd.close()
                continue
            try:
                yield etcd
            finally:
                await etcd.close()
            return
        raise StartError(f"no etcd member answers: {', '.join(clients)}")

    async def _resume(self, credentials: Credentials) -> Etcd:
        if not (self.paths.tls / "server-ca.crt").exists():
            await self._recover_shared(credentials)
        pki.make_shared(self.paths, self.options)
        self._make_leaves()
        etcd = await self._start_etcd()
        if (await etcd.status()).get("isLearner"):
            await membership.promote(etcd, self.paths, await self._voters())
        await self._check_bootstrap(etcd, credentials)
        return etcd

    async def _voters(self) -> list[str]:
        """Ask the cluster for its etcd members, on behalf of one that was killed before it got its vote."""
        supervisor = await SupervisorClient.connect(self.options.text("server"), self.options.secret("token"), "server")
        try:
            clients: list[str] = json.loads(await supervisor.request("GET", "/db/info"))["clients"]
        finally:
            await supervisor.close()
        return clients

    async def _check_bootstrap(self, etcd: Etcd, credentials: Credentials) -> None:
        while not self.children.ended.done():
            try:
                stored = await etcd.get_prefix(bootstrap.PREFIX)
            except EtcdError as error:
                log.info(f"Waiting for etcd to have a leader: {error}")
                await asyncio.sleep(0.5)
                continue
            packed = bootstrap.find(credentials.server, stored)
            if packed is not None:
                bootstrap.unpack(self.paths, packed)
            return
        raise StartError(self._etcd_failure())

    async def _recover_shared(self, credentials: Credentials) -> None:
        """Read the cluster's shared files out of restored data, with certificates made for this moment only."""
        pki.make_shared(self.paths, Options({}))
        self._make_leaves()
        etcd = await self._start_etcd()
        try:
            await self._check_bootstrap(etcd, credentials)
        except bootstrap.BootstrapError:
            # The certificates of the moment must not be taken for the cluster's by the next try.
            shutil.rmtree(self.paths.tls)
            raise
        finally:
            await etcd.close()
            await self.children.stop("etcd")
        (self.paths.tls / "dynamic-cert.json").unlink(missing_ok=True)

    # The control plane.

    async def reset(self) -> None:
        """`--cluster-reset`: become the only member, of the own data or of a snapshot's, and end."""
        self.paths.prepare_server()
        if self.paths.reset_flag.exists():
            raise StartError(
                "Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and "
                f"start k3s normally. If you need to perform another cluster reset, you must first manually delete "
                f"the file at {self.paths.reset_flag}"
            )
        snapshot = self.options.text("cluster-reset-restore-path")
        name = membership.member_name(self.paths, self.host.name)
        if snapshot:
            snapshots.restore(self.paths, self.options, snapshot, name, self.host.address)
        if not (self.paths.etcd / "member").exists():
            raise StartError("cluster-reset: this server has no etcd data; give --cluster-reset-restore-path")
        credentials = self._stored_credentials()
        if not (self.paths.tls / "server-ca.crt").exists():
            await self._recover_shared(credentials)
        self._make_leaves()
        etcd = await self._start_etcd(force=True)
        await self._check_bootstrap(etcd, credentials)
        await etcd.close()
        self._write_tokens(credentials)
        self.paths.reset_flag.touch()
        log.info(
            "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. Backup and "
            "delete ${datadir}/server/db on each peer etcd server and rejoin the nodes"
        )

    async def serve(self) -> None:
        """Run until a signal or the end of a component."""
        self.paths.reset_flag.unlink(missing_ok=True)
        credentials, etcd = await self.prepare()
        tls = self.paths.tls
        admin = client_context(tls / "server-ca.crt", tls / "client-supervisor.crt")
        kube = Kube(_LOCAL_API, admin)
        state = State(
            self.paths, etcd, kube, critical(self.options), running_version(), credentials.server, credentials.agent
        )

        async def rotate(password: str) -> None:
            await self._rotate(etcd, state, credentials, password)

        state.rotate = rotate
        async with asyncio.TaskGroup() as tasks:
            supervisor = tasks.create_task(Supervisor(state).serve())
            await self._start_api(kube)
            await self._save_bootstrap(etcd, credentials)
            for item in kwok.ACCESS:
                await kube.apply(item, "k3s")
            state.ready = True
            await self._start_node()
            await self._mark(kube)
            standing = [supervisor, *(tasks.create_task(work) for work in self._standing_work(kube, etcd, admin))]
            announce_ready()
            log.info(f"k3s is up and running ({time.monotonic() - self._began:.1f} s)")
            name = await self.children.ended
            for task in standing:
                task.cancel()
            log.error(f"{name} ended")
        if self._etcd_removed:
            raise StartError(self._etcd_failure())
        raise StartError(f"{name} exited")

    async def _start_api(self, kube: Kube) -> None:
        self._write_kubeconfig()
        await self.children.start("kube-apiserver", components.apiserver(self.paths, self.options, self.host.address))
        end = time.monotonic() + _API_DEADLINE
        while not await kube.ready():
            if self.children.ended.done():
                raise StartError("kube-apiserver exited; its last lines say why")
            if time.monotonic() > end:
                raise StartError(f"kube-apiserver is not ready after {_API_DEADLINE:.0f} s")
            await asyncio.sleep(0.1)
        await self.children.start("kube-controller-manager", components.controller_manager(self.paths, self.options))
        if not self.options.on("disable-scheduler"):
            await self.children.start("kube-scheduler", components.scheduler(self.paths, self.options))

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
        if bootstrap.find(credentials.server, stored) is None:
            value = bootstrap.encrypt(credentials.server, bootstrap.pack(self.paths))
            await etcd.put(bootstrap.storage_key(credentials.server), value)

    async def _rotate(self, etcd: Etcd, state: State, credentials: Credentials, password: str) -> None:
        """Change the server token: the bootstrap data is encrypted anew, the old copy removed."""
        value = bootstrap.encrypt(password, bootstrap.pack(self.paths))
        await etcd.put(bootstrap.storage_key(password), value)
        for key in await etcd.get_prefix(bootstrap.PREFIX):
            if key != bootstrap.storage_key(password):
                await etcd.delete(key)
        if credentials.agent == credentials.server:
            credentials.agent = state.agent_password = password
        credentials.server = state.server_password = password
        self._write_tokens(credentials)

    async def _start_node(self) -> None:
        """Register this server's own Node, through its own supervisor like any other."""
        if self.options.on("disable-agent"):
            return
        token = (self.paths.server / "token").read_text().strip()
        while True:
            try:
                supervisor = await SupervisorClient.connect(_LOCAL_API, token, "server")
            except RefusedError:
                await asyncio.sleep(0.1)
                continue
            try:
                command = await agent.enlist(
                    self.host, self.paths, self.options, supervisor, role="server", api=_LOCAL_API
                )
            except RefusedError as error:
                log.info(f"Waiting to retrieve agent configuration; server is not ready: {error}")
                await asyncio.sleep(1 if error.status in {0, 503} else 5)
            else:
                await self.children.start("kubelet (KWOK)", command)
                return
            finally:
                await supervisor.close()

    async def _mark(self, kube: Kube) -> None:
        if self.options.on("disable-agent"):
            return
        encryption = self.paths.cred / "encryption-config.json"
        digest = f"start-{hashlib.sha256(encryption.read_bytes()).hexdigest()}" if encryption.exists() else ""
        name = membership.member_name(self.paths, self.host.name)
        await nodes.mark_server(kube, self.host.name, name, self.host.address, digest)

    # Standing work.

    def _standing_work(self, kube: Kube, etcd: Etcd, admin: Any) -> list[Coroutine[Any, Any, None]]:
        self._write_packaged()
        deployer = manifests.Deployer(kube, self.paths.manifests, self.host.name)
        return [
            deployer.run(self.options.many("disable")),
            nodes.watch_removals(kube, etcd),
            self._vip(Kube(_LOCAL_API, admin, timeout=2.0)),
            self._scheduled_snapshots(etcd),
        ]

    def _write_packaged(self) -> None:
        for name, text in packaged.manifests(self.options).items():
            file = self.paths.manifests / name
            if not file.exists() or file.read_text() != text:
                write_secret(file, text)
        for name in packaged.not_simulated(self.options):
            log.warning(f"packaged component {name} is not simulated in the lab; set disable: [{name}] to say so")

    async def _vip(self, kube: Kube) -> None:
        """Be kube-vip's pod on this server for as long as the cluster has its DaemonSet."""
        default = vip.interface_of(self.host.address)
        current: vip.Vip | None = None
        holding: asyncio.Task[None] | None = None
        while True:
            with contextlib.suppress(ApiError):
                listed = await kube.call("GET", "/apis/apps/v1/daemonsets", resourceVersion="0")
                wanted = vip.find(listed.get("items", []), default)
                if wanted != current:
                    if holding is not None:
                        holding.cancel()
                    holding = asyncio.create_task(vip.hold(kube, wanted, self.host.name)) if wanted else None
                    current = wanted
            await asyncio.sleep(1)

    async def _scheduled_snapshots(self, etcd: Etcd) -> None:
        if self.options.on("etcd-disable-snapshots"):
            return
        schedule = snapshots.Cron.parse(self.options.text("etcd-snapshot-schedule-cron"))
        base, folder = self.options.text("etcd-snapshot-name"), snapshots.directory(self.paths, self.options)
        retention = int(self.options.text("etcd-snapshot-retention"))
        while True:
            now = dt.datetime.now(dt.UTC)
            await asyncio.sleep(60 - now.second - now.microsecond / 1e6 + 0.05)
            if not schedule.matches(dt.datetime.now(dt.UTC)):
                continue
            try:
                file = await snapshots.save(
                    etcd, folder, base, self.host.name, compress=self.options.on("etcd-snapshot-compress")
                )
                log.info(f"Saved etcd snapshot to {file}")
                for old in snapshots.prune(folder, base, self.host.name, retention):
                    log.info(f"Removed local snapshot {old}")
            except (EtcdError, OSError) as error:
                log.error(f"Failed to take etcd snapshot: {error}")


async def _run(options: Options) -> None:
    server = Server(options)
    work = asyncio.create_task(server.reset() if options.on("cluster-reset") else server.serve())
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
        log.fatal(f"starting kubernetes: {_first(group)}")
    except (
        StartError,
        RefusedError,
        ApiError,
        EtcdError,
        tokens.TokenError,
        bootstrap.BootstrapError,
        membership.MembershipError,
        snapshots.SnapshotError,
    ) as error:
        log.fatal(f"starting kubernetes: preparing server: {error}")


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
