"""Storage: copies need machines to lie on."""

from collections.abc import Iterator

from config.finding import Finding
from config.hosts import Node, Shift
from config.site import Site

CEPH = ("platform", "storage", "ceph")


def ceph_nodes(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Machines that hold an OSD."""
    return tuple(node for node in nodes if node.in_cluster and node.shape.ceph)


def check_ceph(site: Site) -> Iterator[Finding]:
    """Replicas have enough machines, one copy is a decision, monitors can vote."""
    settings = site.platform.storage.ceph
    if not settings.enabled:
        return
    machines = ceph_nodes(site.machines)
    if not machines:
        remedy = "give a shape `ceph: 500 GiB`, or say `enabled: false`"
        yield Finding(CEPH, "is on, but no machine's shape has a `ceph` disk", remedy, value=None)
    elif settings.pool.replicas > len(hosts := {node.host for node in machines}):
        rule = f"is more than the {len(hosts)} hosts under machines with a `ceph` disk: never healthy"
        yield Finding((*CEPH, "pool", "replicas"), rule, f"at most {len(hosts)}", value=settings.pool.replicas)
    if settings.pool.replicas == 1 and not settings.pool.accept_data_loss:
        rule = "keeps one copy: one broken disk loses data"
        yield Finding((*CEPH, "pool", "replicas"), rule, "keep 3, or say `accept-data-loss: true`")
    for index, group in enumerate(site.nodes):
        if site.shapes[group.shape].ceph and group.shift is not Shift.ALWAYS:
            remedy = "take a shape without a `ceph` disk"
            yield Finding(("nodes", index, "shift"), "takes copies of data away with the machine", remedy)
    members = sum(node.in_cluster for node in site.machines)
    if settings.monitors % 2 == 0:
        yield Finding((*CEPH, "monitors"), "is even: no more survives than with one fewer", "take 1, 3 or 5")
    elif settings.monitors > members:
        yield Finding((*CEPH, "monitors"), f"is more than the {members} nodes", f"at most {members}")


def check_home_storage(site: Site) -> Iterator[Finding]:
    """Somewhere to put homes."""
    storage, hub = site.platform.storage, site.workspaces.jupyterhub
    if hub.enabled and not storage.ceph.enabled and storage.nfs is None:
        remedy = "switch `ceph` on or add `nfs`: on a node's own disk a home is lost with the node"
        yield Finding(("platform", "storage"), "has no place for the homes of JupyterHub", remedy, value=None)
