"""`nodes`: hardware, status, time, DNS."""

import time
from typing import Any

from lab.proxmox import pci
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.propstring import GIB, MIB
from lab.proxmox.router import RouteTable
from lab.proxmox.routes.cluster import VERSION, node_entries, used_memory

table = RouteTable()


@table.get("nodes")
async def list_nodes(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The nodes of the cluster."""
    return node_entries(cluster, call)


@table.get("nodes/{node}/status")
async def read_node_status(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Processors, memory, root disk, uptime."""
    node = cluster.node(call.node)
    used = used_memory(cluster, node.name)
    return {
        "cpu": 0.02,
        "cpuinfo": {"cpus": node.cpus, "cores": max(1, node.cpus // 2), "sockets": 1, "model": "Simulated CPU"},
        "loadavg": ["0.10", "0.12", "0.09"],
        "memory": {"total": node.memory_mib * MIB, "used": used * MIB, "free": max(0, node.memory_mib - used) * MIB},
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": {"total": node.disk_gib * GIB, "used": 8 * GIB, "avail": max(0, node.disk_gib - 8) * GIB},
        "kversion": "Linux 6.14.11-2-pve #1 SMP PREEMPT_DYNAMIC",
        "pveversion": f"pve-manager/{VERSION['version']}/{VERSION['repoid']}",
        "uptime": int(time.time() - cluster.started),
    }


@table.get("nodes/{node}/hardware/pci")
async def list_hardware(cluster: Cluster, call: Call) -> list[dict[str, str | int]]:
    """PCI devices with their IOMMU groups."""
    blacklist = call.text("pci-class-blacklist") if call.has("pci-class-blacklist") else None
    return pci.list_devices(cluster.node(call.node), blacklist, verbose=call.flag("verbose", default=True))


@table.get("nodes/{node}/time")
async def read_time(_cluster: Cluster, _call: Call) -> dict[str, Any]:
    """Clock and time zone; every node keeps UTC."""
    now = int(time.time())
    return {"timezone": "UTC", "time": now, "localtime": now}


@table.get("nodes/{node}/dns")
async def read_dns(cluster: Cluster, call: Call) -> dict[str, str]:
    """Search domain and up to three servers."""
    return cluster.state.nodes[call.node].dns
