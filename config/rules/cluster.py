"""The Kubernetes cluster: servers, quorum, roles."""

from collections.abc import Iterator

from config.base import expand_range
from config.finding import Finding
from config.hosts import Role, Shift
from config.site import Site

ETCD_SIZES = (1, 3, 5)
"""Sizes of etcd that survive as much as they can; even numbers survive no more than one fewer (etcd FAQ)."""


def check_servers(site: Site) -> Iterator[Finding]:
    """One, three or five servers, on at all hours."""
    count = sum(len(expand_range(group.name)) for group in site.nodes if group.role is Role.SERVER)
    if count == 0:
        yield Finding(("nodes",), "has no machine with `role: server`", "add three", value=None)
    elif count not in ETCD_SIZES:
        rule = f"has {count} servers; etcd needs 1, 3 or 5"
        remedy = "make it 5" if count > ETCD_SIZES[-1] else f"make it {count - 1} or {count + 1}"
        yield Finding(("nodes",), rule, remedy, value=None)
    for index, group in enumerate(site.nodes):
        if group.role is Role.SERVER and group.shift is not Shift.ALWAYS:
            yield Finding(("nodes", index, "shift"), "takes away its vote in etcd", "a server runs always")


def check_workers(site: Site) -> Iterator[Finding]:
    """Somebody must run what people submit, and storage machines need something to store on."""
    if not any(group.role is Role.WORKER for group in site.nodes):
        yield Finding(("nodes",), "has no machine with `role: worker`", "add one", value=None)
    for index, group in enumerate(site.nodes):
        if group.role is Role.STORAGE and not site.shapes[group.shape].ceph:
            rule = "has no `ceph` disk, but the machine has role storage"
            yield Finding(("nodes", index, "shape"), rule, "give the shape a `ceph` disk")


def check_untainted_node(site: Site) -> Iterator[Finding]:
    """The way in, operators and hubs tolerate no taint of the site's, so some machine must be without."""
    agents = [(index, node) for index, node in site.nodes_by_group if node.in_cluster and node.role is not Role.SERVER]
    if agents and all(any(not taint.endswith(":PreferNoSchedule") for taint in node.taints) for _, node in agents):
        index = next(index for index, node in agents if node.role is Role.WORKER)
        remedy = "leave a worker without taints, or add one without GPUs"
        yield Finding(("nodes", index, "taints"), "leave no machine for the platform's own pods", remedy, value=None)


def check_shifts_have_calendar(site: Site) -> Iterator[Finding]:
    """Machines that take turns need a calendar that says when."""
    turns = next((index for index, group in enumerate(site.nodes) if group.shift is not Shift.ALWAYS), None)
    if turns is not None and site.calendar is None:
        remedy = "add it: it says who has the machines when"
        yield Finding(("calendar",), f"is missing, but nodes[{turns}].shift needs it", remedy, value=None)
