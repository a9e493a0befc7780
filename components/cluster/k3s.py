"""A K3s cluster with several servers and any number of agents."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pulumi
from pulumi_command import remote

from components.base import Component
from components.cluster import bootstrap, snapshot_access, ssh
from components.cluster.maintenance import Backups, Maintenance, MaintenanceArgs
from components.handles import ClusterAccess, Login, Machine
from config.hosts import Role
from config.site import Site

SNAPSHOT = "/home/lyceum/restore.db"
"""Where a snapshot waits on the first server for its restore; the home of hosts/vm.py's user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class K3sArgs:
    """What a cluster is made from.

    Attributes:
        site: The campus.
        machines: Its members, servers first among equals in the order of the site's file.
        login: How to log in to them.
        token: Server token in the short form; secret, and the passphrase of every etcd snapshot.
        agent_token: Token of the agents; secret.
        ca: The campus's own CA as PEM, or empty.
        known_ca: SHA-256 of the running cluster's CA; given only after the first server was replaced.
        restore_from: etcd snapshot that a cluster whose servers are all new starts from (`lyceum restore`).
        maintenance: The operators' machines, outside the cluster.
        backups: What they need to keep copies of snapshots.
    """

    site: Site
    machines: tuple[Machine, ...]
    login: Login
    token: pulumi.Output[str]
    agent_token: pulumi.Output[str]
    ca: str
    known_ca: str
    restore_from: Path | None = None
    maintenance: tuple[Machine, ...] = ()
    backups: Backups | None = None


class K3s(Component):
    """K3s on the machines: servers one after the other, agents side by side.

    Creates: one SSH command per machine, one that gives roles and waits for all nodes, and the operators' machines.
    Waits for: every node Ready, five minutes at most.
    Secret: tokens and kubeconfig; they travel on standard input and output only.
    """

    TOKEN: ClassVar[str] = "lyceum:cluster:K3s"  # noqa: S105 - a type token
    access: ClusterAccess
    """The administrator's way in."""
    ca: pulumi.Output[str]
    """SHA-256 of the cluster's CA."""

    def __init__(self, name: str, args: K3sArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._args = args
        servers = [machine for machine in args.machines if machine.spec.role is Role.SERVER]
        agents = [machine for machine in args.machines if machine.spec.role is not Role.SERVER]

        copied = [self._snapshot(servers[0], args.restore_from)] if args.restore_from else []
        founder = self._server(servers[0], args.token, after=copied, founding=True)
        self.ca = pulumi.Output.unsecret(founder.stdout.apply(lambda text: text.partition("\n")[0]))
        server_token = pulumi.Output.concat("K10", self.ca, "::server:", args.token)
        joined = [founder]
        for machine in servers[1:]:
            # One at a time: etcd takes one learner at a time.
            joined.append(self._server(machine, server_token, after=joined[-1:]))
        agent_token = pulumi.Output.concat("K10", self.ca, "::node:", args.agent_token)
        joined += [self._agent(machine, agent_token) for machine in agents]

        nodes = tuple(machine.spec for machine in args.machines)
        script = pulumi.Output.all(*(machine.host_key for machine in args.machines)).apply(
            lambda keys: bootstrap.members_script(nodes, keys)
        )
        members = self._command(f"{name}-members", servers[0], script, after=joined)
        url = f"https://{args.site.network.api_address}:6443"
        kubeconfig = pulumi.Output.all(founder.stdout, members.id).apply(
            lambda known: known[0].partition("\n")[2].replace("https://127.0.0.1:6443", url)
        )
        self.access = ClusterAccess(kubeconfig=pulumi.Output.secret(kubeconfig))
        if args.maintenance and args.backups:
            wanted = MaintenanceArgs(
                site=args.site,
                machines=args.maintenance,
                members=args.machines,
                login=args.login,
                kubeconfig=self.access.kubeconfig,
                backups=args.backups,
                ca=args.ca,
            )
            Maintenance(f"{name}-maintenance", wanted, self.child())
        self.register_outputs({"ca": self.ca})

    def _snapshot(self, machine: Machine, file: Path) -> remote.CopyToRemote:
        return remote.CopyToRemote(
            f"{machine.spec.name}-snapshot",
            connection=ssh.connection(machine, self._args.login),
            source=pulumi.FileAsset(str(file)),
            remote_path=SNAPSHOT,
            triggers=[machine.host_key],
            opts=self.child(),
        )

    def _server(
        self, machine: Machine, token: pulumi.Output[str], after: Sequence[pulumi.Resource], *, founding: bool = False
    ) -> remote.Command:
        args = self._args
        copiers = [one.spec.address for one in args.maintenance]
        copying_key = args.backups.public if args.backups else ""
        script = pulumi.Output.all(token, args.agent_token, copying_key).apply(
            lambda known: bootstrap.server_script(
                machine.spec,
                args.site,
                founding=founding,
                snapshot=SNAPSHOT if founding and args.restore_from else "",
                token=known[0],
                agent_token=known[1],
                ca=args.ca,
                known_ca=args.known_ca,
                backup_access=snapshot_access.access_line(copiers, known[2]) if copiers else "",
            )
        )
        return self._command(f"{machine.spec.name}-k3s", machine, script, after)

    def _agent(self, machine: Machine, token: pulumi.Output[str]) -> remote.Command:
        args = self._args
        script = token.apply(lambda known: bootstrap.agent_script(machine.spec, args.site, token=known, ca=args.ca))
        return self._command(f"{machine.spec.name}-k3s", machine, script, after=[])

    def _command(
        self, name: str, machine: Machine, script: pulumi.Input[str], after: Sequence[pulumi.Resource]
    ) -> remote.Command:
        return ssh.command(name, machine, self._args.login, script, self.child(depends_on=after))
