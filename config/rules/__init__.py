"""Rules that compare the settings of a site with each other, one module for each subject. Pure: a site in, findings out.

Each rule names what must be valid before it runs, so that a mistake in `network` does not hide one in `tenants`.
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
    layers,
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
    """A rule, and what must be valid before it can be checked.

    Attributes:
        check: The rule.
        requires: Sections of the site file, and results of earlier rules.
        provides: Name under which later rules may need this one to have found nothing.
    """

    check: Callable[[Site], Iterator[Finding]]
    requires: frozenset[str]
    provides: str | None = None


def _define_rule(check: Callable[[Site], Iterator[Finding]], requires: str, provides: str | None = None) -> Rule:
    return Rule(check, frozenset(requires.split()), provides)


_PAGES = "platform workspaces identity"

RULES: tuple[Rule, ...] = (
    _define_rule(references.check_patterns, "hosts nodes", provides="patterns"),
    _define_rule(references.check_references, "hosts nodes shapes patterns", provides="references"),
    _define_rule(references.check_node_addresses, "nodes network patterns", provides="inside"),
    _define_rule(names.check_machine_names, f"hosts nodes patterns {_PAGES}", provides="names"),
    _define_rule(names.check_page_names, _PAGES),
    _define_rule(addresses.check_unique_addresses, "hosts nodes network proxmox k3s patterns"),
    _define_rule(addresses.check_network_membership, "hosts nodes network proxmox k3s patterns"),
    _define_rule(addresses.check_address_pools, "hosts nodes network proxmox k3s patterns"),
    _define_rule(addresses.check_network_overlaps, "network"),
    _define_rule(addresses.check_hardware_addresses, "hosts nodes shapes network patterns references inside"),
    _define_rule(passthrough.check_pci_slots, "hosts", provides="slots"),
    _define_rule(passthrough.check_card_owners, "hosts nodes shapes network slots references inside"),
    _define_rule(passthrough.check_card_holders, "hosts nodes shapes network references inside"),
    _define_rule(host_capacity.check_host_reserve, "hosts", provides="reserve"),
    _define_rule(host_capacity.check_cores, "hosts nodes shapes network names references inside"),
    _define_rule(host_capacity.check_memory, "hosts nodes shapes network names reserve references inside"),
    _define_rule(host_capacity.check_disks, "hosts nodes shapes network names references inside"),
    _define_rule(host_capacity.check_disk_sizes, "shapes"),
    _define_rule(host_capacity.check_unused_shapes, "shapes nodes references"),
    _define_rule(cluster.check_servers, "nodes patterns"),
    _define_rule(cluster.check_workers, "nodes shapes references", provides="workers"),
    _define_rule(
        cluster.check_node_sizes, f"{_PAGES} hosts nodes shapes network references inside workers", provides="sizes"
    ),
    _define_rule(
        cluster.check_platform_home, f"{_PAGES} hosts nodes shapes network references inside sizes", provides="home"
    ),
    _define_rule(cluster.check_shifts, "nodes calendar"),
    _define_rule(storage.check_ceph, "platform hosts nodes shapes network references inside workers"),
    _define_rule(storage.check_home_storage, "platform workspaces"),
    _define_rule(certificates.check_issuer, "platform domain"),
    _define_rule(layers.check_demands, _PAGES),
    _define_rule(access.check_login, _PAGES),
    _define_rule(access.check_tenants, "tenants hosts nodes shapes network references inside workers"),
    _define_rule(access.check_quotas, f"tenants k3s {_PAGES} hosts nodes shapes network references inside workers"),
    _define_rule(workloads.check_profiles, f"{_PAGES} hosts nodes shapes network references inside workers home"),
    _define_rule(workloads.check_queues, "platform tenants hosts nodes shapes network references inside workers"),
    _define_rule(workloads.check_triton, "workspaces hosts nodes shapes network references inside workers"),
    _define_rule(calendar.check_calendar, "calendar"),
    _define_rule(services.check_service_dependencies, f"{_PAGES} hosts nodes shapes network references inside workers"),
    _define_rule(services.check_power_control, "platform hosts"),
    _define_rule(compatibility.check_kubernetes_support, "k3s platform workspaces versions"),
    _define_rule(compatibility.check_cuda_drivers, "platform workspaces versions"),
    _define_rule(compatibility.check_pinned_charts, "versions"),
)
"""In the order in which they are checked and reported."""
