"""How a server gets the cluster's credentials and a vote in etcd: it starts a cluster, joins, resumes, or resets one."""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from lab.k3s import bootstrap, components, log, membership, pki, s3, snapshots, tokens
from lab.k3s.client import SupervisorClient
from lab.k3s.config import Options, critical_settings
from lab.k3s.etcd import Etcd, EtcdError
from lab.k3s.host import Host
from lab.k3s.paths import Paths, write_secret
from lab.k3s.processes import ChildProcesses

_LOCAL_ETCD = "https://127.0.0.1:2379"
_ETCD_DEADLINE = 120.0
_LEARNER_PATIENCE = 5.0
_SEATING = 0.3
_JOIN_ATTEMPTS = 5


class StartError(Exception):
    """The server cannot start; the text is what K3s logs after `starting kubernetes: preparing server: `."""


@dataclass
class Credentials:
    """The cluster's join secrets."""

    server: str
    agent: str


def write_tokens(paths: Paths, credentials: Credentials) -> None:
    """Write the token files of `server/` in the secure form."""
    bundle = (paths.tls / "server-ca.crt").read_bytes()
    write_secret(paths.server / "token", tokens.secure_token(f"server:{credentials.server}", bundle) + "\n")
    write_secret(paths.server / "agent-token", tokens.secure_token(f"node:{credentials.agent}", bundle) + "\n")
    node_token = paths.server / "node-token"
    node_token.unlink(missing_ok=True)
    node_token.symlink_to(paths.server / "token")
    passwd = f"{credentials.server},server,server,k3s:server\n{credentials.agent},node,node,k3s:agent\n"
    file = paths.server / bootstrap.PASSWD
    # Its time counts (bootstrap.check_newer): like K3s, write it when it changes only.
    if not file.exists() or file.read_text() != passwd:
        write_secret(file, passwd)


class ClusterJoin:
    """The first half of a server's start."""

    def __init__(self, options: Options, host: Host, paths: Paths, children: ChildProcesses) -> None:
        self.options = options
        self.host = host
        self.paths = paths
        self.children = children
        self.peer_url = f"https://{host.address}:2380"
        self._removed = False

    async def prepare(self) -> tuple[Credentials, Etcd]:
        """Bring up etcd as a voter and return what the rest of the server needs."""
        self.paths.prepare_server()
        snapshots.remove_partial_files(snapshots.snapshot_directory(self.paths, self.options))
        self._set_removed_data_aside()
        if (self.paths.etcd / "member").exists():
            credentials = self._stored_credentials()
            etcd = await self._resume_member(credentials)
        elif self.options.text("server"):
            credentials, etcd = await self._join_cluster()
        else:
            credentials, etcd = await self._create_cluster()
        write_tokens(self.paths, credentials)
        return credentials, etcd

    def _set_removed_data_aside(self) -> None:
        if self.paths.tombstone.exists():
            log.info("etcd tombstone found: moving the data of the removed member aside, joining again")
            self.paths.etcd.rename(self.paths.etcd.with_name(f"etcd-old-{int(time.time())}"))
            self.paths.prepare_server()

    def _token_setting(self, name: str) -> str:
        text = self.options.secret(name)
        return tokens.parse_token(text).password if text else ""

    def _stored_credentials(self) -> Credentials:
        stored = self.paths.server / "token"
        server = self._token_setting("token") or (
            tokens.parse_token(stored.read_text().strip()).password if stored.exists() else ""
        )
        if not server:
            raise StartError("no token: neither the token setting nor server/token exists")
        return Credentials(server, self._token_setting("agent-token") or server)

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
        if not await self._wait_until_answers(etcd, _ETCD_DEADLINE):
            raise StartError(self.failure_reason())
        return etcd

    async def _wait_until_seated(self, etcd: Etcd) -> bool:
        """Wait until a joining etcd serves; returns False when it ended, or will not serve soon (see `_join_cluster`)."""
        end = time.monotonic() + _LEARNER_PATIENCE
        while time.monotonic() < end:
            received = await etcd.has_received_snapshot()
            if await self._wait_until_answers(etcd, _SEATING):
                return True
            if received or self.children.ended.done():
                return False
        return False

    async def _wait_until_answers(self, etcd: Etcd, seconds: float) -> bool:
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
            self._removed = True
            self.paths.tombstone.touch()
        return "gRPC-gateway" not in line

    def failure_reason(self) -> str:
        """Return why etcd ended."""
        if self._removed:
            return "this node has been removed from the cluster please restart k3s to rejoin the cluster"
        return "etcd exited; its last lines say why"

    async def _create_cluster(self) -> tuple[Credentials, Etcd]:
        server = self._token_setting("token") or tokens.random_password()
        pki.make_shared(self.paths, self.options)
        if self.options.secret("token"):
            tokens.check_ca(
                tokens.parse_token(self.options.secret("token")), (self.paths.tls / "server-ca.crt").read_bytes()
            )
        self._make_leaves()
        name = membership.member_name(self.paths, self.host.name)
        etcd = await self._start_etcd(f"{name}={self.peer_url}", new=True)
        return Credentials(server, self._token_setting("agent-token") or server), etcd

    async def _join_cluster(self) -> tuple[Credentials, Etcd]:
        url, token = self.options.text("server"), self.options.secret("token")
        if not token:
            raise StartError("--token is required to join a cluster")
        supervisor = await SupervisorClient.connect(url, token, "server")
        try:
            packed = await supervisor.request("GET", "/v1-k3s/server-bootstrap")
            remote = json.loads(await supervisor.request("GET", "/v1-k3s/config"))
            self._compare_critical_settings(remote["critical"])
            clients = json.loads(await supervisor.request("GET", "/db/info"))["clients"]
        finally:
            await supervisor.close()
        bootstrap.unpack_files(self.paths, packed)
        self._make_leaves()
        name = membership.member_name(self.paths, self.host.name)
        async with self._connect_any(clients) as cluster:
            initial = await membership.add_learner(cluster, name, self.peer_url)
            await self.children.start("etcd", self._etcd_command(initial, new=False), on_line=self._watch_etcd)
            etcd = Etcd(_LOCAL_ETCD, self.paths)
            for _ in range(_JOIN_ATTEMPTS):
                if await self._wait_until_seated(etcd):
                    break
                # Two things that a second start cures. Another server was announced meanwhile, and etcd compares the
                # list of members. Or: a new member proposes its name through raft, and when the snapshot that it is
                # sent holds that entry already, it waits ten seconds for an answer that has passed.
                initial = await membership.add_learner(cluster, name, self.peer_url)
                await self.children.stop("etcd", 0)
                await self.children.start("etcd", self._etcd_command(initial, new=False), on_line=self._watch_etcd)
        if not await self._wait_until_answers(etcd, _ETCD_DEADLINE):
            raise StartError(self.failure_reason())
        await membership.promote(etcd, self.paths, clients)
        server = tokens.parse_token(token).password
        return Credentials(server, self._token_setting("agent-token") or server), etcd

    def _compare_critical_settings(self, theirs: dict[str, str]) -> None:
        different = [
            name for name, value in critical_settings(self.options).items() if theirs.get(name, value) != value
        ]
        for name in different:
            log.error(
                f"critical configuration mismatched: {name}: {critical_settings(self.options)[name]} != {theirs[name]}"
            )
        if different:
            raise StartError(
                "failed to validate server configuration: critical configuration value mismatch between servers: "
                + ", ".join(different)
            )

    @contextlib.asynccontextmanager
    async def _connect_any(self, clients: list[str]) -> AsyncIterator[Etcd]:
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

    async def _resume_member(self, credentials: Credentials) -> Etcd:
        if not (self.paths.tls / "server-ca.crt").exists():
            await self._recover_shared(credentials)
        pki.make_shared(self.paths, self.options)
        self._make_leaves()
        etcd = await self._start_etcd()
        if (await etcd.status()).get("isLearner"):
            await membership.promote(etcd, self.paths, await self._list_voters())
        try:
            await self._check_bootstrap(etcd, credentials, running=True)
        except bootstrap.DifferentTokenError:
            # K3s writes the token that it was given into these files before it notices that it is the wrong one.
            write_tokens(self.paths, credentials)
            (self.paths.server / bootstrap.PASSWD).touch()
            raise
        return etcd

    async def _list_voters(self) -> list[str]:
        """Ask the cluster for its etcd members, on behalf of one that was killed before it got its vote."""
        supervisor = await SupervisorClient.connect(self.options.text("server"), self.options.secret("token"), "server")
        try:
            clients: list[str] = json.loads(await supervisor.request("GET", "/db/info"))["clients"]
        finally:
            await supervisor.close()
        return clients

    async def _check_bootstrap(self, etcd: Etcd, credentials: Credentials, *, running: bool = False) -> None:
        while not self.children.ended.done():
            try:
                stored = await etcd.get_prefix(bootstrap.PREFIX)
            except EtcdError as error:
                log.info(f"Waiting for etcd to have a leader: {error}")
                await asyncio.sleep(0.5)
                continue
            packed = bootstrap.find_stored(credentials.server, stored)
            if packed is not None:
                if running:
                    bootstrap.check_newer(self.paths, packed)
                bootstrap.unpack_files(self.paths, packed)
            return
        raise StartError(self.failure_reason())

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
        if snapshot and self.options.on("etcd-s3"):
            # The API server does not run yet, so no Secret can be read, and a path on this disk is a name in the bucket.
            bucket = await s3.open_bucket(self.options, None)
            folder = snapshots.snapshot_directory(self.paths, self.options)
            snapshot = str(await asyncio.to_thread(bucket.download, snapshot, folder))
        if snapshot:
            snapshots.restore_snapshot(self.paths, self.options, snapshot, name, self.host.address)
        if not (self.paths.etcd / "member").exists():
            raise StartError("cluster-reset: this server has no etcd data; give --cluster-reset-restore-path")
        credentials = self._stored_credentials()
        if not (self.paths.tls / "server-ca.crt").exists():
            await self._recover_shared(credentials)
        self._make_leaves()
        etcd = await self._start_etcd(force=True)
        await self._check_bootstrap(etcd, credentials)
        await etcd.close()
        write_tokens(self.paths, credentials)
        self.paths.reset_flag.touch()
        log.info(
            "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. Backup and "
            "delete ${datadir}/server/db on each peer etcd server and rejoin the nodes"
        )
