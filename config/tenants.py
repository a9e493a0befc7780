"""Settings of tenants: people, teams and courses that share the cluster."""

import datetime as dt
from enum import StrEnum

from pydantic import Field

from config.base import DnsLabel, Model, Size


class TenantKind(StrEnum):
    """Kind of a tenant."""

    PERSON = "person"
    """One user."""
    TEAM = "team"
    """A working group."""
    COURSE = "course"
    """A course and its participants, for one term."""


class Quota(Model):
    """Limits of a tenant; an absent number means no limit (R16, R44)."""

    cores: int | None = Field(default=None, gt=0)
    """Virtual CPUs."""
    memory: Size | None = None
    """Memory."""
    storage: Size | None = None
    """Sum of all volumes."""
    pods: int = Field(default=50, gt=0)
    """Number of pods."""
    gpus: dict[str, int] = Field(default_factory=dict)
    """GPUs by kind: `{a100-40gb: 2, a100-40gb/1g.5gb: 4}`. The limit of a kind that is not listed is 0."""


class Tenant(Model):
    """A person, a team or a course: a namespace, its members and its quota."""

    name: DnsLabel
    """Identifier, and name of the namespace."""
    title: str = ""
    """Display name; the name if absent."""
    kind: TenantKind = TenantKind.TEAM
    """Its kind."""
    groups: tuple[str, ...] = Field(min_length=1)
    """Groups of the identity provider whose members belong to the tenant."""
    quota: Quota = Quota()
    """Its limits."""
    dedicated: tuple[str, ...] = ()
    """Nodes that only this tenant may use, names or patterns: `gpu-[01-04]` (R2)."""
    internet: bool = True
    """Whether its pods may reach addresses outside the campus."""
    until: dt.date | None = None
    """Last day, as in `2027-02-28`; afterwards the namespace is frozen, not deleted."""
