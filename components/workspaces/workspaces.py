"""Everything that people log in to."""

from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.base import Component
from components.layer import LayerArgs
from components.workspaces.jupyterhub import JupyterHub
from components.workspaces.kubeflow import Kubeflow
from config.hosts import Node
from config.site import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkspacesArgs:
    """What the workspaces are made from.

    Attributes:
        site: The campus.
        nodes: Machines in service.
        after: What a notebook needs: volumes, GPUs, the way in.
        hub_password: Shared password of the lab's hub, secret.
    """

    site: Site
    nodes: tuple[Node, ...]
    after: tuple[pulumi.Resource, ...]
    hub_password: pulumi.Input[str]


class Workspaces(Component):
    """Notebooks, training, pipelines and serving, each as the site switches it.

    Creates: one component for JupyterHub, one for Kubeflow. Neither waits for the other.
    Secret: the lab hub's shared password.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:Workspaces"  # noqa: S105 - a type token

    def __init__(self, name: str, args: WorkspacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        layer = LayerArgs(site=args.site, nodes=args.nodes, after=args.after)
        under = pulumi.ResourceOptions(parent=self)
        if args.site.workspaces.jupyterhub.enabled:
            JupyterHub("jupyterhub", layer, args.hub_password, under)
        Kubeflow("kubeflow", layer, under)
        self.register_outputs({})
