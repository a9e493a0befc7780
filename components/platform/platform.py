"""The layers between Kubernetes and the workspaces, in the order that their needs give (R30)."""

from typing import ClassVar

import pulumi

from components.base import Component
from components.layer import LayerGroupArgs, Ready, install_layers


class Platform(Component):
    """Addresses, certificates, ingress, volumes, GPUs, queues, metrics; each as the site switches it.

    Creates: one component for each layer of `config.layers` in this package.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Platform"  # noqa: S105 - a type token
    ready: Ready
    """What later layers wait for, by layer."""

    def __init__(self, name: str, args: LayerGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.ready = install_layers("platform", args, self)
        self.register_outputs({})
