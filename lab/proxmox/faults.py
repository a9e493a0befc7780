"""Faults that a test or a person injects into the API, and their handlers on the campus's control socket."""

import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class Fault(BaseModel):
    """One rule: calls that match it, from the `nth` on, `count` times, go wrong in one way."""

    model_config = ConfigDict(extra="forbid")

    route: str
    """Regular expression searched in `<METHOD> <path below /api2/json/>`, such as `POST nodes/.*/qemu$`."""
    kind: Literal["status", "delay", "drop", "task", "agent"]
    """`status`: refused, nothing is done. `delay`: answered late. `drop`: done, but the connection is closed without
    an answer. `task`: the call is accepted and its task fails. `agent`: the guest agent is silent."""
    nth: int = Field(default=1, ge=1)
    """The first matching call that is hit; 1 is the next."""
    count: int | None = Field(default=1, ge=1)
    """How many calls are hit; None for all until the rule is cleared."""
    status: int = Field(default=500, ge=400, le=599)
    """HTTP status of kind `status`."""
    message: str = "injected fault"
    """Text of the error or of the failed task."""
    seconds: float = Field(default=1.0, ge=0)
    """Length of kind `delay`."""
    done: bool = False
    """For kind `task`: whether the work is done before the task reports failure."""
    id: int = 0
    """Given by the simulator."""
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

    def shown(self) -> dict[str, Any]:
        """The rule with what remains of it, for people and tests."""
        return {**self.model_dump(), "remaining": self.remaining}


class Conditions(BaseModel):
    """States of the cluster that no call of the API could bring about."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    quorate: bool = True
    """Without quorum every change is refused."""
    offline: set[str] = Field(default_factory=set)
    """Nodes that do not answer."""
    ballast: dict[str, int] = Field(default_factory=dict)
    """`<node>/<storage>` to GiB occupied by others; fills a storage."""


class ApiFaults:
    """The rules in force and the conditions."""

    def __init__(self) -> None:
        self.conditions = Conditions()
        self._rules: list[Fault] = []
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force and return it with its number."""
        placed = fault.model_copy(update={"id": next(self._numbers), "seen": 0})
        self._rules.append(placed)
        return placed

    def rules(self) -> list[Fault]:
        """The rules, used-up ones included, oldest first."""
        return list(self._rules)

    def clear(self, number: int | None = None) -> int:
        """Remove one rule, or all; returns how many went."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if number is not None and rule.id != number]
        return before - len(self._rules)

    def hits(self, target: str) -> list[Fault]:
        """The rules that hit this call; each counts it."""
        return [rule for rule in self._rules if rule.count_call(target)]

    def handlers(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """For the campus's control socket, by the names that it knows."""
        return {
            "proxmox_fault": self.place,
            "proxmox_faults": self.shown,
            "proxmox_mend": self.mend,
            "proxmox_conditions": self.change,
        }

    async def place(self, **rule: Any) -> dict[str, Any]:
        """Put a rule in force, given by the fields of `Fault`; raises `ValueError` that names a bad field."""
        try:
            return self.add(Fault(**rule)).shown()
        except ValidationError as error:
            raise ValueError(_complaint(error)) from None

    async def shown(self) -> dict[str, Any]:
        """Rules and conditions."""
        return {"faults": [rule.shown() for rule in self._rules], "conditions": self.conditions.model_dump(mode="json")}

    async def mend(self, number: int | None = None) -> int:
        """Remove one rule; or all, and bring the conditions back to good. Returns how many rules went."""
        if number is None:
            await self.change(**Conditions().model_dump())
        return self.clear(number)

    async def change(self, **fields: Any) -> dict[str, Any]:
        """Change conditions, given by the fields of `Conditions`; raises `ValueError` that names a bad field."""
        try:
            merged = Conditions.model_validate(self.conditions.model_dump() | fields)
        except ValidationError as error:
            raise ValueError(_complaint(error)) from None
        # The object is shared with the storages, so its fields are replaced, not the object.
        for name in Conditions.model_fields:
            setattr(self.conditions, name, getattr(merged, name))
        return self.conditions.model_dump(mode="json")


def _complaint(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
