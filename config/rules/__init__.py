"""The rules that hold across a site, one small module a subject. Pure: a site in, findings out.

Every rule names what it needs to be sound before it can run; a mistake in `network` does not hide one in `tenants`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from config.finding import Finding
from config.rules import (
    access,
    addresses,
    calendar,
    certificates,
    cluster,
    compatibility,
    host_capacity,
    names,
    passthrough,
    references,
    services,
    storage,
    workloads,
)
from config.site import Site

__all__ = ["RULES", "Finding", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and what must be sound before it can be asked.

    Attributes:
        ask: The rule.
        needs: Sections of the site file, and results of earlier rules.
        gives: Name under which later rules may need this one to have found nothing.
    """

    ask: Callable[[Site], Iterator[Finding]]
    needs: frozenset[str]
    gives: str | None = None


def _rule(ask: Callable[[Site], Iterator[Finding]], needs: str, gives: str | None = None) -> Rule:
    return Rule(ask, frozenset(needs.split()), gives)


_PAGES = "platform workspaces identity"

RULES: tuple[Rule, ...] = (
    _rule(references.patterns, "hosts nodes", gives="patterns"),
    _rule(references.references, "hosts nodes shapes patterns", gives="references"),
    _rule(references.inside, "nodes network patterns", gives="inside"),
    _rule(names.machine_names, f"hosts nodes patterns {_PAGES}", gives="names"),
    _rule(names.page_names, _PAGES),
    _rule(addresses.unique, "hosts nodes network proxmox k3s patterns"),
    _rule(addresses.in_network, "hosts nodes network proxmox k3s patterns"),
    _rule(addresses.pools, "hosts nodes network proxmox k3s patterns"),
    _rule(addresses.overlaps, "network"),
    _rule(addresses.hardware_addresses, "hosts nodes shapes network patterns references inside"),
    _rule(passthrough.slots, "hosts", gives="slots"),
    _rule(passthrough.owners, "hosts nodes shapes network slots references inside"),
    _rule(passthrough.holders, "hosts nodes shapes network references inside"),
    _rule(host_capacity.hosts_alive, "hosts", gives="reserve"),
    _rule(host_capacity.processors, "hosts nodes shapes network names references inside"),
    _rule(host_capacity.memory, "hosts nodes shapes network names reserve references inside"),
    _rule(host_capacity.disks, "hosts nodes shapes network names references inside"),
    _rule(host_capacity.whole_gibibytes, "shapes"),
    _rule(host_capacity.shapes_used, "shapes nodes references"),
    _rule(cluster.servers, "nodes patterns"),
    _rule(cluster.workers, "nodes shapes references", gives="workers"),
    _rule(cluster.room_for_the_platform, "hosts nodes shapes network references inside workers"),
    _rule(cluster.shifts, "nodes calendar"),
    _rule(storage.ceph, "platform hosts nodes shapes network references inside workers"),
    _rule(storage.network_storage, "platform workspaces"),
    _rule(certificates.issuer, "platform domain"),
    _rule(certificates.layers, _PAGES),
    _rule(access.login, _PAGES),
    _rule(access.tenants, "tenants hosts nodes shapes network references inside workers"),
    _rule(access.quotas, "tenants hosts nodes shapes network references inside workers"),
    _rule(workloads.profiles, "workspaces hosts nodes shapes network references inside workers"),
    _rule(workloads.queues, "platform tenants hosts nodes shapes network references inside workers"),
    _rule(workloads.serving, "workspaces hosts nodes shapes network references inside workers"),
    _rule(calendar.calendar, "calendar"),
    _rule(services.needs, f"{_PAGES} hosts nodes shapes network references inside workers"),
    _rule(services.power, "platform hosts"),
    _rule(compatibility.matrix, "k3s platform workspaces versions"),
    _rule(compatibility.drivers, "platform workspaces versions"),
    _rule(compatibility.held, "versions"),
)
"""In the order in which they are asked and told."""
