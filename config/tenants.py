"""People and teams that share the cluster."""

import datetime as dt
from enum import StrEnum

from pydantic import Field

from config.base import DnsLabel, Model, Size


class TenantKind(StrEnum):
    """What a tenant is."""

    PERSON = "person"
    """One user."""
    TEAM = "team"
    """A working group."""
    COURSE = "course"
    """A course with its participants; ends with the term."""


class Quota(Model):
    """The most that a tenant can use at once; an absent number means no limit (R16, R44)."""

    cores: int | None = Field(default=None, gt=0)
    """Virtual CPUs."""
    memory: Size | None = None
    """Memory."""
    storage: Size | None = None
    """All volumes together."""
    pods: int = Field(default=50, gt=0)
    """Pods."""
    gpus: dict[str, int] = Field(default_factory=dict)
    """GPUs by kind: `{a100-40gb: 2, a100-40gb/1g.5gb: 4}`. A kind that is not named is not given."""


class Tenant(Model):
    """A person, a team or a course: a namespace, its members and what they may use."""

    name: DnsLabel
    """Identity, and name of the namespace."""
    title: str = ""
    """Display name; the name if absent."""
    kind: TenantKind = TenantKind.TEAM
    """What it is."""
    groups: tuple[str, ...] = Field(min_length=1)
    """Groups of the identity provider whose members belong to it."""
    quota: Quota = Quota()
    """What it may hold."""
    dedicated: tuple[str, ...] = ()
    """Nodes that are its alone, names or patterns: `gpu-[01-04]` (R2)."""
    internet: bool = True
    """Whether its pods may reach addresses outside the campus."""
    until: dt.date | None = None
    """Last day; afterwards the namespace is frozen, not deleted."""
