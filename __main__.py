"""A campus becomes a cluster: machines, Kubernetes, the platform, the places where people work."""

from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_proxmoxve as proxmoxve

from components.cluster.k3s import K3s, K3sArgs
from components.cluster.snapshot_access import SnapshotAccess
from components.handles import Login
from components.hosts.fleet import Fleet, FleetArgs
from components.layer import LayerGroupArgs
from components.platform.ingress import ingress_address
from components.platform.platform import Platform
from components.workspaces.workspaces import Workspaces
from config.immutable import immutable_settings
from config.key_derivation import USER
from config.load import load_settings
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
k3s = K3s(
    "k3s",
    K3sArgs(
        site=site,
        machines=fleet.machines,
        login=Login(user=USER, private_key=secrets.ssh_private_key),
        token=secrets.derived(token_purpose(TokenKind.SERVER, settings.generations.server_token)),
        agent_token=secrets.derived(token_purpose(TokenKind.AGENT, settings.generations.agent_token)),
        ca=Path(site.ca_file).read_text() if site.ca_file and Path(site.ca_file).exists() else "",
        known_ca=settings.known_ca,
        restore_from=settings.restore_from,
        maintenance=fleet.maintenance,
        snapshot_access=SnapshotAccess.from_seed(secrets.seed, pulumi.get_stack()),
    ),
)
# With an identifier of its own the cluster stays itself when its kubeconfig changes: nothing on it is ever replaced.
cluster = pulumi.ResourceOptions(
    providers=[
        kubernetes.Provider("kubernetes", kubeconfig=k3s.access.kubeconfig, cluster_identifier=f"lyceum-{site.name}")
    ]
)
platform = Platform("platform", LayerGroupArgs(site=site, nodes=members, secrets=secrets.of_layers, ready={}), cluster)
Workspaces(
    "workspaces", LayerGroupArgs(site=site, nodes=members, secrets=secrets.of_layers, ready=platform.ready), cluster
)

pulumi.export("site", site.name)
pulumi.export("stage", settings.stage)
pulumi.export("api", f"https://{site.network.api_address}:6443")
pulumi.export("ingress", ingress_address(site))
pulumi.export("kubeconfig", k3s.access.kubeconfig)
pulumi.export("cluster_ca", k3s.ca)
pulumi.export("fixed", immutable_settings(site))
