"""The handlers of the API, one module an area; `TABLES` lists them all."""

from lab.proxmox.routes import (
    access,
    agent,
    cluster,
    disks,
    mapping,
    network,
    nodes,
    pools,
    power,
    qemu,
    storage,
    tasks,
)

_AREAS = (access, cluster, mapping, pools, nodes, network, tasks, storage, qemu, power, disks, agent)

TABLES = tuple(area.table for area in _AREAS)
"""Every route of the API."""
