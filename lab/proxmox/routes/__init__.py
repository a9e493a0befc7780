"""The handlers of the API, one module an area; `TABLES` lists them all."""

from lab.proxmox.routes import (
    access,
    agent,
    clone_migrate,
    cluster,
    disks,
    ha,
    mapping,
    network,
    nodes,
    pools,
    power,
    qemu,
    storage,
    tasks,
    users,
)

__all__ = ["TABLES"]

_AREAS = (
    access,
    users,
    cluster,
    mapping,
    ha,
    pools,
    nodes,
    network,
    tasks,
    storage,
    qemu,
    power,
    disks,
    clone_migrate,
    agent,
)

TABLES = tuple(area.table for area in _AREAS)
"""Every route of the API."""
