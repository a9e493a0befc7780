"""The maintenance machine (R21): kubectl, kubeconfig, and copies of the newest etcd snapshots. Not a node of the cluster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pulumi

from components.base import Component
from components.cluster import k3s_config, ssh
from components.cluster.bootstrap import CA_FILE, assemble, heredoc, k3s_binary_call
from components.cluster.snapshot_access import ACCOUNT, COPIES, HOME, TIMER, SnapshotAccess
from components.handles import Login, NodeHandle
from config.hosts import Node, Role
from config.resource_names import Part, resource_name
from config.site import Site

MAINTENANCE_SH = (Path(__file__).parent / "maintenance.sh").read_text()
COPIES_PY = (Path(__file__).parent / "snapshot_copies.py").read_text()
SETTINGS = "/etc/lyceum/backup"
PROGRAM = "/usr/local/lib/lyceum/snapshot_copies.py"
KUBECTL = """\
#!/bin/sh
# k3s is kubectl too; without this it would look for a server's own kubeconfig.
export KUBECONFIG="${KUBECONFIG:-$HOME/.kube/config}"
exec /usr/local/bin/k3s kubectl "$@"
"""
PROFILE = """\
# Written by Lyceum.
export KUBECONFIG="${KUBECONFIG:-$HOME/.kube/config}"
alias k=kubectl
"""
SERVICE = f"""\
[Unit]
Description=Copies of the newest etcd snapshots
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={ACCOUNT}
ExecStart=/usr/bin/python3 {PROGRAM} {SETTINGS}/settings.json
TimeoutStartSec=1h
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadWritePaths={COPIES}
"""
HOURLY = """\
[Unit]
Description=Copies of the newest etcd snapshots, every hour

[Timer]
OnCalendar=hourly
RandomizedDelaySec=10min
Persistent=true

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaintenanceArgs:
    """What the maintenance machines are made from.

    Attributes:
        site: The campus.
        machines: The maintenance machines.
        members: Members of the cluster.
        login: How to log in to them; operators log in as the same user.
        kubeconfig: The administrator's, for the API address; secret.
        snapshot_access: Keys and fingerprint for the copies of snapshots.
        ca: The campus's own CA as PEM, or empty.
    """

    site: Site
    machines: tuple[NodeHandle, ...]
    members: tuple[NodeHandle, ...]
    login: Login
    kubeconfig: pulumi.Output[str]
    snapshot_access: SnapshotAccess
    ca: str


class Maintenance(Component):
    """The operators' machines outside the cluster.

    Creates: one SSH command per machine.
    Waits for: the cluster, whose kubeconfig they get.
    Secret: kubeconfig and private key; they pass through standard input only.
    """

    TOKEN: ClassVar[str] = "lyceum:cluster:Maintenance"  # noqa: S105 - a type token

    def __init__(self, name: str, args: MaintenanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        machines = [machine for machine in args.members if machine.spec.role is Role.SERVER]
        servers = [machine.spec for machine in machines]
        keys = pulumi.Output.all(*(machine.host_key for machine in machines))
        settings = args.snapshot_access.seed_fingerprint.apply(lambda seed: copy_settings(args, servers, seed))
        script = pulumi.Output.all(args.kubeconfig, args.snapshot_access.private_key, settings, keys).apply(
            lambda known: maintenance_script(
                args.site,
                args.login.user,
                kubeconfig=known[0],
                key=known[1],
                settings=known[2],
                known_hosts=known_hosts(servers, known[3]),
                ca=args.ca,
            )
        )
        for machine in args.machines:
            ssh.command(resource_name(machine.spec.name, Part.MAINTENANCE), machine, args.login, script, self.child())
        self.register_outputs({})


def known_hosts(servers: Sequence[Node], keys: Sequence[str]) -> str:
    """Lines of known_hosts; a replaced server is trusted only after Lyceum has read its new key."""
    return "".join(f"{server.address} {key}\n" for server, key in zip(servers, keys, strict=True))


def copy_settings(args: MaintenanceArgs, servers: Sequence[Node], seed: str) -> str:
    """Settings of snapshot_copies.py, as JSON."""
    settings = {
        "site": args.site.name,
        "stack": args.snapshot_access.stack,
        "seed": seed,
        "keep": args.site.k3s.snapshots.keep,
        "servers": {node.name: str(node.address) for node in servers},
        "user": ACCOUNT,
        "key": f"{SETTINGS}/key",
        "known_hosts": f"{SETTINGS}/known_hosts",
        "directory": COPIES,
    }
    return json.dumps(settings, indent=1)


def maintenance_script(
    site: Site, user: str, *, kubeconfig: str, key: str, settings: str, known_hosts: str, ca: str
) -> str:
    """The script that sets up a maintenance machine.

    Args:
        site: Its campus.
        user: The user that operators log in as.
        kubeconfig: The administrator's kubeconfig.
        key: Private key that fetches snapshots, PEM.
        settings: Settings of snapshot_copies.py.
        known_hosts: The servers' host keys.
        ca: The campus's own CA as PEM, or empty.
    """
    api = k3s_config.api_url(site)
    return assemble(
        [
            MAINTENANCE_SH,
            "cloud_init_done\n",
            "python_there\n",
            f"install -d -m 0755 /etc/lyceum {SETTINGS}\n",
            *([heredoc(f"keep 0644 {CA_FILE}", ca)] if ca else []),
            f"ca=({f'--cacert {CA_FILE}' if ca else ''})\n",
            k3s_binary_call(site),
            heredoc("keep 0755 /usr/local/bin/kubectl", KUBECTL),
            heredoc("keep 0644 /etc/profile.d/lyceum.sh", PROFILE),
            heredoc(f"operators {user} /home/{user} {api}", kubeconfig),
            f"account {ACCOUNT} {HOME}\n",
            f"install -d -m 0700 {COPIES}\n",
            f"chown {ACCOUNT}: {COPIES}\n",
            heredoc(f"own {ACCOUNT} 0400 {SETTINGS}/key", key),
            heredoc(f"keep 0644 {SETTINGS}/known_hosts", known_hosts),
            heredoc(f"keep 0644 {SETTINGS}/settings.json", settings),
            heredoc(f"keep 0644 {PROGRAM}", COPIES_PY),
            heredoc(f"unit /etc/systemd/system/{TIMER}.service", SERVICE),
            heredoc(f"unit /etc/systemd/system/{TIMER}.timer", HOURLY),
            f"timer {TIMER}\n",
        ]
    )
