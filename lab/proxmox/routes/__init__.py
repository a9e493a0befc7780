"""The handlers of the API, one module an area; `TABLES` lists them all."""

from lab.proxmox.routes import access, agent, cluster, ha, mapping, network, nodes, pools, qemu, storage, tasks, users

__all__ = ["TABLES"]

TABLES = tuple(
    module.table for module in (access, users, cluster, mapping, ha, pools, nodes, network, tasks, storage, qemu, agent)
)
