"""What every component has: a token that never changes, and children that hang under it."""

from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """Base of all components.

    Attributes:
        TOKEN: `lyceum:<layer>:<Noun>`, written out so that moving a module never changes a URN.
    """

    TOKEN: ClassVar[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TOKEN, name, None, opts)

    def child(self, **options: Any) -> pulumi.ResourceOptions:
        """Options of a child: the only way options are made, so no child is ever an orphan."""
        return pulumi.ResourceOptions(parent=self, **options)
