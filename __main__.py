"""A campus becomes a cluster: machines, Kubernetes, the platform, the places where people work."""

from dataclasses import replace

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_proxmoxve as proxmoxve

from components.cluster.k3s import K3s, K3sArgs
from components.cluster.snapshot_access import SnapshotAccess
from components.handles import Login, Shell
from components.hosts.fleet import Fleet, FleetArgs
from components.layer import LayerGroupArgs
from components.platform.ingress import ingress_address
from components.platform.platform import Platform
from components.workspaces.workspaces import Workspaces
from config.immutable import immutable_settings
from config.key_derivation import USER
from config.load import load_settings
from config.site import CA_FILE
from config.tokens import TokenKind, token_purpose

settings = load_settings()
site, secrets = settings.site, settings.secrets
nodes = settings.nodes
members = tuple(node for node in nodes if node.in_cluster)

proxmox = proxmoxve.Provider("proxmox", endpoint=str(site.proxmox.endpoint), api_token=secrets.proxmox_token)
fleet = Fleet(
    "fleet",
    FleetArgs(site=site, nodes=nodes, ssh_key=secrets.ssh_public_key, proxmox_token=secrets.proxmox_token),
    pulumi.ResourceOptions(providers=[proxmox]),
)
login = Login(user=USER, private_key=secrets.ssh_private_key)
k3s = K3s(
    "k3s",
    K3sArgs(
        site=site,
        machines=fleet.machines,
        login=login,
        token=secrets.derive(token_purpose(TokenKind.SERVER, settings.generations.server_token)),
        agent_token=secrets.derive(token_purpose(TokenKind.AGENT, settings.generations.agent_token)),
        ca=settings.files.get(CA_FILE, ""),
        known_ca=settings.known_ca,
        restore_from=settings.restore_from,
        maintenance=fleet.maintenance,
        snapshot_access=SnapshotAccess.from_seed(secrets.seed, settings.stack),
    ),
)
# With an identifier of its own the cluster stays itself when its kubeconfig changes: nothing on it is ever replaced.
cluster = pulumi.ResourceOptions(
    providers=[
        kubernetes.Provider("kubernetes", kubeconfig=k3s.access.kubeconfig, cluster_identifier=f"lyceum-{site.name}")
    ]
)
platform_args = LayerGroupArgs(
    site=site,
    nodes=members,
    secrets=secrets.of_layers,
    files=settings.files,
    shell=Shell(machine=k3s.first_server, login=login),
    ready={},
)
platform = Platform("platform", platform_args, cluster)
Workspaces("workspaces", replace(platform_args, ready=platform.ready), cluster)

pulumi.export("site", site.name)
pulumi.export("stage", settings.stage)
pulumi.export("api", f"https://{site.network.api_address}:6443")
pulumi.export("ingress", ingress_address(site))
pulumi.export("kubeconfig", k3s.access.kubeconfig)
pulumi.export("cluster_ca", k3s.ca)
pulumi.export("fixed", immutable_settings(site))
