"""Everything that people log in to."""

from typing import ClassVar

import pulumi

from components.base import Component
from components.layer import LayerGroupArgs, install_layers


class Workspaces(Component):
    """Notebooks, training, pipelines and serving; each as the site switches it.

    Creates: one component for each layer of `config.layers` in this package.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:Workspaces"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        install_layers("workspaces", args, self)
        self.register_outputs({})
