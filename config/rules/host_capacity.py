"""Capacity of the hosts: the machines on each fit."""

from collections.abc import Iterator

from config.base import MIB_PER_GIB, format_size
from config.finding import FieldPath, Finding
from config.hosts import Host, Node, Shift
from config.site import Site

Places = dict[str, FieldPath]
"""Name of a machine -> its place in the file."""


def check_cores(site: Site) -> Iterator[Finding]:
    """A machine has at most as many cores as its host has threads; the sum over a host's machines may be higher."""
    for host, nodes, place in _nodes_by_host(site):
        for node in nodes:
            if node.shape.cores > host.cpus:
                rule = f"of {node.name} has {node.shape.cores} cores; {host.name} has {host.cpus} threads"
                yield Finding((*place[node.name], "shape"), rule, "use a smaller shape")


def check_memory(site: Site) -> Iterator[Finding]:
    """The machines that run together fit into the host's memory: PCI passthrough pins it, so it is not overcommitted."""
    for host, nodes, place in _nodes_by_host(site):
        yield from _check_host_memory(host, nodes, place)


def check_disks(site: Site) -> Iterator[Finding]:
    """The machines' disks fit on the VM storage."""
    for host, nodes, place in _nodes_by_host(site):
        yield from _check_host_disks(host, nodes, place)


def _nodes_by_host(site: Site) -> Iterator[tuple[Host, list[Node], Places]]:
    place: Places = {node.name: ("nodes", index) for index, node in site.nodes_by_group}
    by_host: dict[str, list[Node]] = {}
    for node in site.machines:
        by_host.setdefault(node.host, []).append(node)
    for name, nodes in by_host.items():
        yield site.hosts_by_name[name], nodes, place


def _check_host_memory(host: Host, nodes: list[Node], place: Places) -> Iterator[Finding]:
    free = host.memory - host.reserve
    for shift in (Shift.OWNERS, Shift.CLUSTER):
        running = [node for node in nodes if node.shift in {Shift.ALWAYS, shift}]
        asked = sum(node.shape.memory for node in running)
        if asked > free:
            largest = max(running, key=lambda node: node.shape.memory)
            rule = (
                f"of {largest.name} is the largest on {host.name}, where machines need {format_size(asked)} and"
                f" {format_size(max(free, 0)) if free > 0 else 'nothing'} is free"
            )
            remedy = f"{host.name} has {format_size(host.memory)} and keeps {format_size(host.reserve)}: make a shape smaller"
            yield Finding((*place[largest.name], "shape"), rule, remedy)
            return


def _check_host_disks(host: Host, nodes: list[Node], place: Places) -> Iterator[Finding]:
    total = 0
    for node in nodes:
        disks = [size for size in (node.shape.disk, node.shape.scratch, node.shape.ceph) if size]
        total += sum(disks)
        if max(disks) > host.disk:
            rule = f"of {node.name} has a disk of {format_size(max(disks))}; {host.name} has {format_size(host.disk)}"
            yield Finding((*place[node.name], "shape"), rule, "use a smaller shape")
            return
    if total > host.disk and not host.thin:
        rule = f"brings the disks on {host.name} to {format_size(total)}; it has {format_size(host.disk)}"
        remedy = "make a shape smaller, or set `thin: true` on the host if its storage is thin and monitored"
        yield Finding((*place[nodes[-1].name], "shape"), rule, remedy)


def check_disk_sizes(site: Site) -> Iterator[Finding]:
    """Sizes of disks are whole GiB, as Proxmox needs them."""
    for name, shape in site.shapes.items():
        for field in ("disk", "scratch", "ceph"):
            size = getattr(shape, field)
            if size and size % MIB_PER_GIB:
                yield Finding(
                    ("shapes", name, field), "is not a whole number of GiB", "round it: Proxmox sizes disks in GiB"
                )


def check_unused_shapes(site: Site) -> Iterator[Finding]:
    """Every shape is used: an unused one is usually a typing error."""
    used = {group.shape for group in site.nodes}
    for name in site.shapes:
        if name not in used:
            yield Finding(("shapes", name), "is not used by any machine", "remove it, or use it in `nodes`", value=None)


def check_host_reserve(site: Site) -> Iterator[Finding]:
    """The memory that the hypervisor keeps is less than the host has."""
    for index, group in enumerate(site.hosts):
        if group.reserve >= group.memory:
            yield Finding(
                ("hosts", index, "reserve"),
                f"is not less than the host's memory {format_size(group.memory)}",
                "use a smaller reserve",
            )
