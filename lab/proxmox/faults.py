"""Faults that a test or a person injects into the API, and their handlers on the campus's control socket."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Fault(BaseModel):
    """One rule: calls that match it, from the `nth` on, `count` times, go wrong in one way."""

    model_config = ConfigDict(extra="forbid")

    route: str
    """Regular expression searched in `<METHOD> <path below /api2/json/>`, such as `POST nodes/.*/qemu$`."""
    kind: Literal["status", "drop", "task"]
    """`status`: refused, nothing is done. `drop`: done, but the connection is closed without an answer. `task`: the call
    is accepted and its task fails."""
    nth: int = Field(default=1, ge=1)
    """The first matching call that is hit; 1 is the next."""
    count: int | None = Field(default=1, ge=1)
    """How many calls are hit; None for all until the rule is cleared."""
    status: int = Field(default=500, ge=400, le=599)
    """HTTP status of kind `status`."""
    message: str = "injected fault"
    """Text of the error or of the failed task."""
    done: bool = False
    """For kind `task`: whether the work is done before the task reports failure."""
    seen: int = 0
    """Matching calls so far."""

    @field_validator("route")
    @classmethod
    def _compiles(cls, route: str) -> str:
        try:
            re.compile(route)
        except re.error as error:
            raise ValueError(f"'{route}' is not a regular expression: {error}") from None
        return route

    @property
    def remaining(self) -> int | None:
        """Calls still to be hit; None when unlimited."""
        return None if self.count is None else self.count - max(0, self.seen - self.nth + 1)

    def count_call(self, target: str) -> bool:
        """Count a call and tell whether it is hit."""
        if self.remaining == 0 or not re.search(self.route, target):
            return False
        self.seen += 1
        return self.seen >= self.nth


class Conditions(BaseModel):
    """States of the cluster that no call of the API could bring about."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    quorate: bool = True
    """Without quorum every change is refused."""
    offline: set[str] = Field(default_factory=set)
    """Nodes that do not answer."""
    ballast: dict[str, int] = Field(default_factory=dict)
    """`<node>/<storage>` to GiB occupied by others; fills a storage."""
    interfaces: dict[str, dict[str, int]] = Field(default_factory=dict)
    """`<node>/<interface>` to fields that are not as the installer has left them."""


class ApiFaults:
    """The rules in force and the conditions."""

    def __init__(self) -> None:
        self.conditions = Conditions()
        self.rules: list[Fault] = []
        """Used-up ones included, oldest first."""

    def hits(self, target: str) -> list[Fault]:
        """The rules that hit this call; each counts it."""
        return [rule for rule in self.rules if rule.count_call(target)]

    def handlers(self) -> dict[str, Callable[..., Awaitable[None]]]:
        """For the campus's control socket, by the names that it knows."""
        return {"proxmox_fault": self.place, "proxmox_conditions": self.change}

    async def place(self, **rule: Any) -> None:
        """Put a rule in force, given by the fields of `Fault`; raises `ValueError` that names a bad field."""
        self.rules.append(Fault(**rule))

    async def change(self, **fields: Any) -> None:
        """Change conditions, given by the fields of `Conditions`; raises `ValueError` that names a bad field."""
        merged = Conditions.model_validate(self.conditions.model_dump() | fields)
        # The object is shared with the storages, so its fields are replaced, not the object.
        for name in Conditions.model_fields:
            setattr(self.conditions, name, getattr(merged, name))
