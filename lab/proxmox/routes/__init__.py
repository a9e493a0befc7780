"""The handlers of the API, one module an area; `TABLES` lists them all."""

from lab.proxmox.routes import access, agent, cluster, mapping, nodes, pools, power, qemu, storage, tasks

TABLES = tuple(area.table for area in (access, cluster, mapping, pools, nodes, tasks, storage, qemu, power, agent))
"""Every route of the API."""
