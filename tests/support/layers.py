"""Platform and workspaces of a campus, run without an engine on a cluster that is only a provider."""

from dataclasses import replace

import pulumi
import pulumi_kubernetes as k8s

from components.handles import Login, NodeHandle, Shell
from components.layer import LayerGroupArgs
from components.platform.platform import Platform
from components.workspaces.workspaces import Workspaces
from config import layers
from config.site import Site
from tests.support.mocks import Graph, build

RELEASE = "kubernetes:helm.sh/v3:Release"
NAMESPACE = "kubernetes:core/v1:Namespace"
GRAFANA, HUB = "grafana-password", "hub-password"
SECRETS = {"grafana-admin": GRAFANA, "hub-password": HUB}


def layers_graph(site: Site) -> Graph:
    """Every layer of the platform and the workspaces that a campus switches on."""

    def program() -> None:
        cluster = pulumi.ResourceOptions(providers=[k8s.Provider("kubernetes", kubeconfig="{}")])
        nodes = tuple(node for node in site.machines if node.in_cluster)
        texts = {name: f"the-secret-{name}" for record in layers.LAYERS for name in record.secrets}
        secrets = {name: pulumi.Output.secret(text) for name, text in (texts | SECRETS).items()}
        key = pulumi.Output.secret("the-ssh-key")
        machine = NodeHandle(spec=nodes[0], host_key=pulumi.Output.from_input("ssh-ed25519 AAAA"))
        shell = Shell(machine=machine, login=Login(user="lyceum", private_key=key))
        args = LayerGroupArgs(site=site, nodes=nodes, secrets=secrets, files={}, shell=shell, ready={})
        platform = Platform("platform", args, cluster)
        Workspaces("workspaces", replace(args, ready=platform.ready), cluster)

    return build(program)


def releases(site: Site) -> set[str]:
    """Names of the charts that a campus installs."""
    return {one.name for one in layers_graph(site).of_type(RELEASE)}
