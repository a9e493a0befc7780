"""Base class of all components: a fixed type token, and options that make children."""

from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """Base of all components.

    Attributes:
        TOKEN: Type token `lyceum:<part>:<Noun>`, written out so that moving a module does not change a URN.
    """

    TOKEN: ClassVar[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TOKEN, name, None, opts)

    def child(self, **options: Any) -> pulumi.ResourceOptions:
        """Resource options with this component as parent. No other code makes options, so every child has a parent."""
        return pulumi.ResourceOptions(parent=self, **options)
