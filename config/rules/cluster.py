"""The Kubernetes cluster: servers, quorum, roles."""

from collections.abc import Iterator

from config.allocatable import NOTHING, Amount, format_amount, total
from config.base import expand_range
from config.capacity import homeless_pod, platform_homes, room_on_node
from config.finding import Finding
from config.hosts import Role, Shift
from config.requests import hard_taints, platform_requests
from config.site import STAGES, Site

ETCD_SIZES = (1, 3, 5)
"""Sizes of an etcd cluster; an even size tolerates no more failures than the odd one below it (etcd FAQ)."""


def check_servers(site: Site) -> Iterator[Finding]:
    """There are one, three or five servers, and they always run."""
    count = sum(len(expand_range(group.name)) for group in site.nodes if group.role is Role.SERVER)
    if count == 0:
        yield Finding(("nodes",), "has no machine with `role: server`", "add three", value=None)
    elif count not in ETCD_SIZES:
        rule = f"has {count} servers; etcd needs 1, 3 or 5"
        remedy = "make it 5" if count > ETCD_SIZES[-1] else f"make it {count - 1} or {count + 1}"
        yield Finding(("nodes",), rule, remedy, value=None)
    for index, group in enumerate(site.nodes):
        if group.role is Role.SERVER and group.shift is not Shift.ALWAYS:
            yield Finding(
                ("nodes", index, "shift"),
                "would stop a server, and etcd would lose a member",
                "remove it: servers always run",
            )


def check_workers(site: Site) -> Iterator[Finding]:
    """There is a worker, and every storage machine has a disk for Ceph."""
    if not any(group.role is Role.WORKER for group in site.nodes):
        yield Finding(("nodes",), "has no machine with `role: worker`", "add one", value=None)
    for index, group in enumerate(site.nodes):
        if group.role is Role.STORAGE and not site.shapes[group.shape].ceph:
            rule = "has no `ceph` disk, but the machine has role storage"
            yield Finding(("nodes", index, "shape"), rule, "give the shape a `ceph` disk")


def check_node_sizes(site: Site) -> Iterator[Finding]:
    """Each node has room for its own daemons beside what Kubernetes and the system keep; else the kubelet refuses to start."""
    for index, node in site.nodes_by_group:
        if node.in_cluster and not (room := room_on_node(site, node)).covers(NOTHING):
            kept = Amount(node.shape.cores * 1000, node.shape.memory) - room
            rule = f"of {node.name} is smaller than what Kubernetes, the system and the node's daemons keep: {kept.rounded_up}"
            yield Finding(("nodes", index, "shape"), rule, "use a larger shape")


def check_platform_home(site: Site) -> Iterator[Finding]:
    """The platform's own pods tolerate no taint of the site: at every hour machines without one have room for all of them."""
    agents = [(index, node) for index, node in site.nodes_by_group if node.in_cluster and node.role is not Role.SERVER]
    if agents and all(hard_taints(node) for _, node in agents):
        index = next(index for index, node in agents if node.role is Role.WORKER)
        remedy = "remove the taints of one worker, or add a worker without GPUs"
        yield Finding(("nodes", index, "taints"), "leave no machine for the pods of the platform", remedy, value=None)
        return
    # The first stage has the fewest machines.
    nodes = site.in_service(next(iter(STAGES)))
    homes = platform_homes(nodes)
    if agents and not homes:
        index = next(index for index, node in agents if not hard_taints(node))
        rule = "stops every machine on which the pods of the platform may stand"
        remedy = "set `taints: []` on the storage machines, or add a worker that always runs"
        yield Finding(("nodes", index, "shift"), rule, remedy)
    elif homes and (pod := homeless_pod(site, homes)):
        room = total(room_on_node(site, node) for node in homes)
        asked = total(request for _, request in platform_requests(site))
        index = next(index for index, node in agents if node == homes[0])
        rule = (
            f"of {len(homes)} machines that always run without a taint leaves {format_amount(room)} to the platform, which asks"
            f" for {format_amount(asked)}: no place is left for {pod}"
        )
        yield Finding(("nodes", index, "shape"), rule, "use a larger shape, or add a worker that always runs")


def check_shifts(site: Site) -> Iterator[Finding]:
    """Machines with a shift need a calendar; a node of the cluster runs when the cluster has the machines."""
    for index, group in enumerate(site.nodes):
        if group.shift is Shift.OWNERS and group.role is Role.WORKER:
            rule = "would run a node of the cluster only while the owners have the machines"
            yield Finding(("nodes", index, "shift"), rule, "use `cluster`, or a machine with `role: desktop`")
    turns = next((index for index, group in enumerate(site.nodes) if group.shift is not Shift.ALWAYS), None)
    if turns is not None and site.calendar is None:
        remedy = "add a calendar: it defines when each shift runs"
        yield Finding(("calendar",), f"is missing, but nodes[{turns}].shift needs it", remedy, value=None)
