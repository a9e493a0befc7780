"""Storage: replicas have enough machines."""

from collections.abc import Iterator

from config.finding import Finding
from config.hosts import Node, Shift
from config.site import Site

CEPH = ("platform", "storage", "ceph")


def ceph_nodes(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Machines with an OSD."""
    return tuple(node for node in nodes if node.in_cluster and node.shape.ceph)


def check_ceph(site: Site) -> Iterator[Finding]:
    """Replicas have enough hosts, a single replica is confirmed, the number of monitors is odd."""
    settings = site.platform.storage.ceph
    if not settings.enabled:
        return
    machines = ceph_nodes(site.machines)
    if not machines:
        remedy = "add `ceph: 500 GiB` to a shape, or set `enabled: false`"
        yield Finding(CEPH, "is enabled, but no machine's shape has a `ceph` disk", remedy, value=None)
    elif settings.pool.replicas > len(hosts := {node.host for node in machines}):
        rule = f"is more than the {len(hosts)} hosts with a `ceph` disk: the pool would never be healthy"
        yield Finding((*CEPH, "pool", "replicas"), rule, f"at most {len(hosts)}", value=settings.pool.replicas)
    if settings.pool.replicas == 1 and not settings.pool.accept_data_loss:
        rule = "keeps a single copy: one failed disk loses data"
        yield Finding((*CEPH, "pool", "replicas"), rule, "use 3, or set `accept-data-loss: true`")
    for index, group in enumerate(site.nodes):
        if site.shapes[group.shape].ceph and group.shift is not Shift.ALWAYS:
            remedy = "use a shape without a `ceph` disk"
            yield Finding(("nodes", index, "shift"), "would stop a machine that stores Ceph data", remedy)
    members = sum(node.in_cluster for node in site.machines)
    if settings.monitors % 2 == 0:
        yield Finding((*CEPH, "monitors"), "is even, which tolerates no more failures than one fewer", "use 1, 3 or 5")
    elif settings.monitors > members:
        yield Finding((*CEPH, "monitors"), f"is more than the {members} nodes", f"at most {members}")


def check_home_storage(site: Site) -> Iterator[Finding]:
    """JupyterHub has storage for home directories."""
    storage, hub = site.platform.storage, site.workspaces.jupyterhub
    if hub.enabled and not storage.ceph.enabled and storage.nfs is None:
        remedy = "enable `ceph` or add `nfs`: a home on a node's own disk is lost with the node"
        yield Finding(
            ("platform", "storage"), "has no storage for the home directories of JupyterHub", remedy, value=None
        )
