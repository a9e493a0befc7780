"""A K3s cluster with several servers and any number of agents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pulumi
from pulumi_command import remote

from components.base import Component
from components.cluster import bootstrap, snapshot_access, ssh
from components.cluster.maintenance import Maintenance, MaintenanceArgs
from components.cluster.snapshot_access import SnapshotAccess
from components.handles import ClusterAccess, Login, NodeHandle
from config.hosts import Role
from config.resource_names import Part, resource_name
from config.site import Site

SNAPSHOT = "/home/lyceum/restore.db"
"""Path of the snapshot on the first server during a restore; in the home directory of the user that hosts/vm.py creates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class K3sArgs:
    """What a cluster is made from.

    Attributes:
        site: The campus.
        machines: Its members, in the order of the site's file.
        login: How to log in to them.
        token: Server token in the short form; secret, and the passphrase of every etcd snapshot.
        agent_token: Token of the agents; secret.
        ca: The campus's own CA as PEM, or empty.
        known_ca: SHA-256 of the running cluster's CA; given only after the first server was replaced.
        restore_from: etcd snapshot that a cluster whose servers are all new starts from (`lyceum restore`).
        maintenance: The maintenance machines, outside the cluster.
        snapshot_access: Keys with which they fetch snapshots from the servers.
    """

    site: Site
    machines: tuple[NodeHandle, ...]
    login: Login
    token: pulumi.Output[str]
    agent_token: pulumi.Output[str]
    ca: str
    known_ca: str
    restore_from: Path | None = None
    maintenance: tuple[NodeHandle, ...] = ()
    snapshot_access: SnapshotAccess | None = None


class K3s(Component):
    """K3s on the machines: servers one after the other, agents in parallel.

    Creates: one SSH command per machine, one that sets roles and waits for all nodes, and the maintenance machines.
    Waits for: every node Ready, five minutes at most.
    Secret: tokens and kubeconfig; they pass through standard input and output only.
    """

    TOKEN: ClassVar[str] = "lyceum:cluster:K3s"  # noqa: S105 - a type token
    access: ClusterAccess
    """The administrator's kubeconfig."""
    ca: pulumi.Output[str]
    """SHA-256 of the cluster's CA."""
    first_server: NodeHandle
    """The server that founded the cluster, or took its place."""

    def __init__(self, name: str, args: K3sArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._args = args
        servers = [machine for machine in args.machines if machine.spec.role is Role.SERVER]
        agents = [machine for machine in args.machines if machine.spec.role is not Role.SERVER]

        self.first_server = servers[0]
        copied = [self._snapshot(servers[0], args.restore_from)] if args.restore_from else []
        founder = self._server(servers[0], args.token, after=copied, founding=True)
        self.ca = pulumi.Output.unsecret(founder.stdout.apply(lambda text: text.partition("\n")[0]))
        server_token = pulumi.Output.concat("K10", self.ca, "::server:", args.token)
        joined = [founder]
        for machine in servers[1:]:
            # One at a time: etcd allows one learner at a time.
            joined.append(self._server(machine, server_token, after=joined[-1:]))
        agent_token = pulumi.Output.concat("K10", self.ca, "::node:", args.agent_token)
        joined += [self._agent(machine, agent_token) for machine in agents]

        nodes = tuple(machine.spec for machine in args.machines)
        script = pulumi.Output.all(*(machine.host_key for machine in args.machines)).apply(
            lambda keys: bootstrap.members_script(nodes, keys)
        )
        members = self._command(resource_name(name, Part.MEMBERS), servers[0], script, after=joined)
        url = f"https://{args.site.network.api_address}:6443"
        kubeconfig = pulumi.Output.all(founder.stdout, members.id).apply(
            lambda known: known[0].partition("\n")[2].replace("https://127.0.0.1:6443", url)
        )
        self.access = ClusterAccess(kubeconfig=pulumi.Output.secret(kubeconfig))
        if args.maintenance and args.snapshot_access:
            maintenance = MaintenanceArgs(
                site=args.site,
                machines=args.maintenance,
                members=args.machines,
                login=args.login,
                kubeconfig=self.access.kubeconfig,
                snapshot_access=args.snapshot_access,
                ca=args.ca,
            )
            Maintenance(resource_name(name, Part.MAINTENANCE), maintenance, self.child())
        self.register_outputs({"ca": self.ca})

    def _snapshot(self, machine: NodeHandle, file: Path) -> remote.CopyToRemote:
        return remote.CopyToRemote(
            resource_name(machine.spec.name, Part.SNAPSHOT),
            connection=ssh.connection(machine, self._args.login),
            source=pulumi.FileAsset(str(file)),
            remote_path=SNAPSHOT,
            triggers=[machine.host_key],
            opts=self.child(),
        )

    def _server(
        self,
        machine: NodeHandle,
        token: pulumi.Output[str],
        after: Sequence[pulumi.Resource],
        *,
        founding: bool = False,
    ) -> remote.Command:
        args = self._args
        clients = [machine.spec.address for machine in args.maintenance]
        public_key = args.snapshot_access.public_key if args.snapshot_access else ""
        script = pulumi.Output.all(token, args.agent_token, public_key).apply(
            lambda known: bootstrap.server_script(
                machine.spec,
                args.site,
                founding=founding,
                snapshot=SNAPSHOT if founding and args.restore_from else "",
                token=known[0],
                agent_token=known[1],
                ca=args.ca,
                known_ca=args.known_ca,
                backup_access=snapshot_access.authorized_keys_line(clients, known[2]) if clients else "",
            )
        )
        return self._command(resource_name(machine.spec.name, Part.K3S), machine, script, after)

    def _agent(self, machine: NodeHandle, token: pulumi.Output[str]) -> remote.Command:
        args = self._args
        script = token.apply(lambda known: bootstrap.agent_script(machine.spec, args.site, token=known, ca=args.ca))
        return self._command(resource_name(machine.spec.name, Part.K3S), machine, script, after=[])

    def _command(
        self, name: str, machine: NodeHandle, script: pulumi.Input[str], after: Sequence[pulumi.Resource]
    ) -> remote.Command:
        return ssh.command(name, machine, self._args.login, script, self.child(depends_on=after))
