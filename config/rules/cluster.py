"""The Kubernetes cluster: servers, quorum, roles."""

from collections.abc import Iterator

from config.base import expand_range
from config.finding import Finding
from config.hosts import Role, Shift
from config.site import Site

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


def check_untainted_node(site: Site) -> Iterator[Finding]:
    """The platform's own pods tolerate no taint of the site, so one machine must have none."""
    agents = [(index, node) for index, node in site.nodes_by_group if node.in_cluster and node.role is not Role.SERVER]
    if agents and all(any(not taint.endswith(":PreferNoSchedule") for taint in node.taints) for _, node in agents):
        index = next(index for index, node in agents if node.role is Role.WORKER)
        remedy = "remove the taints of one worker, or add a worker without GPUs"
        yield Finding(("nodes", index, "taints"), "leave no machine for the pods of the platform", remedy, value=None)


def check_shifts_have_calendar(site: Site) -> Iterator[Finding]:
    """Machines with a shift need a calendar."""
    turns = next((index for index, group in enumerate(site.nodes) if group.shift is not Shift.ALWAYS), None)
    if turns is not None and site.calendar is None:
        remedy = "add a calendar: it defines when each shift runs"
        yield Finding(("calendar",), f"is missing, but nodes[{turns}].shift needs it", remedy, value=None)
