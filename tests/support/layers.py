"""Platform and workspaces of a campus, run without an engine on a cluster that is only a provider."""

import pulumi
import pulumi_kubernetes as k8s

from components.platform.platform import Platform, PlatformArgs
from components.workspaces.workspaces import Workspaces, WorkspacesArgs
from config.site import Site
from tests.support.mocks import Graph, build

RELEASE = "kubernetes:helm.sh/v3:Release"
NAMESPACE = "kubernetes:core/v1:Namespace"
GRAFANA, HUB = "grafana-password", "hub-password"


def layers(site: Site) -> Graph:
    """Every layer of the platform and the workspaces that a campus switches on."""

    def program() -> None:
        cluster = pulumi.ResourceOptions(providers=[k8s.Provider("kubernetes", kubeconfig="{}")])
        nodes = tuple(node for node in site.machines if node.in_cluster)
        secret = pulumi.Output.secret
        platform = Platform("platform", PlatformArgs(site=site, nodes=nodes, grafana_password=secret(GRAFANA)), cluster)
        given = WorkspacesArgs(site=site, nodes=nodes, after=platform.ready, hub_password=secret(HUB))
        Workspaces("workspaces", given, cluster)

    return build(program)


def releases(site: Site) -> set[str]:
    """Names of the charts that a campus installs."""
    return {one.name for one in layers(site).of_type(RELEASE)}
