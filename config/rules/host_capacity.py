"""What hosts have and machines ask for."""

from collections.abc import Iterator

from config.base import MIB_PER_GIB, format_size
from config.finding import FieldPath, Finding
from config.hosts import Host, Node, Shift
from config.site import Site

Places = dict[str, FieldPath]
"""Name of a machine -> its place in the file."""


def check_cores(site: Site) -> Iterator[Finding]:
    """A machine has no more cores than its host has threads; hosts may be promised several times over."""
    for host, nodes, place in _nodes_by_host(site):
        for node in nodes:
            if node.shape.cores > host.cpus:
                rule = f"of {node.name} has {node.shape.cores} cores; {host.name} has {host.cpus} threads"
                yield Finding((*place[node.name], "shape"), rule, "take a smaller shape")


def check_memory(site: Site) -> Iterator[Finding]:
    """Memory is promised once: passthrough pins it. It counts by shift, because turns are taken."""
    for host, nodes, place in _nodes_by_host(site):
        yield from _check_host_memory(host, nodes, place)


def check_disks(site: Site) -> Iterator[Finding]:
    """Disks fit on the VM storage."""
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
                f"of {largest.name} is the largest on {host.name}, where machines ask for {format_size(asked)} and"
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
            yield Finding((*place[node.name], "shape"), rule, "take a smaller shape")
            return
    if total > host.disk and not host.thin:
        rule = f"ends disks of {format_size(total)} on {host.name}, which has {format_size(host.disk)}"
        remedy = "make a shape smaller, or say `thin: true` at the host if its storage is thin and watched"
        yield Finding((*place[nodes[-1].name], "shape"), rule, remedy)


def check_disk_sizes(site: Site) -> Iterator[Finding]:
    """Proxmox sizes disks in whole GiB."""
    for name, shape in site.shapes.items():
        for field in ("disk", "scratch", "ceph"):
            size = getattr(shape, field)
            if size and size % MIB_PER_GIB:
                yield Finding(("shapes", name, field), "is not a whole number of GiB", "Proxmox sizes disks in GiB")


def check_unused_shapes(site: Site) -> Iterator[Finding]:
    """A shape that no machine has is usually a slip of the pen."""
    used = {group.shape for group in site.nodes}
    for name in site.shapes:
        if name not in used:
            yield Finding(("shapes", name), "is the shape of no machine", "remove it, or use it", value=None)


def check_host_reserve(site: Site) -> Iterator[Finding]:
    """The hypervisor keeps less than the host has."""
    for index, group in enumerate(site.hosts):
        if group.reserve >= group.memory:
            yield Finding(("hosts", index, "reserve"), f"is not below memory {format_size(group.memory)}", "keep less")
