"""`nodes`: hardware, status, time, DNS, hosts."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lab.proxmox import pci
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import bad_parameter
from lab.proxmox.propstring import GIB, MIB
from lab.proxmox.router import Table
from lab.proxmox.routes.cluster import VERSION, memory_used, nodes

table = Table()


@table.get("nodes")
async def list_nodes(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The nodes of the cluster."""
    return nodes(cluster, call)


@table.get("nodes/{node}/version")
async def node_version(_cluster: Cluster, _call: Call) -> dict[str, str]:
    """Version of the node's API."""
    return VERSION


@table.get("nodes/{node}/status")
async def node_status(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Processors, memory, root disk, uptime."""
    node = cluster.node(call.node)
    used = memory_used(cluster, node.name)
    return {
        "cpu": 0.02,
        "cpuinfo": {"cpus": node.cpus, "cores": max(1, node.cpus // 2), "sockets": 1, "model": "Simulated CPU"},
        "loadavg": ["0.10", "0.12", "0.09"],
        "memory": {
            "total": node.memory_mib * MIB,
            "used": used * MIB,
            "free": max(0, node.memory_mib - used) * MIB,
        },
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": {"total": node.disk_gib * GIB, "used": 8 * GIB, "avail": max(0, node.disk_gib - 8) * GIB},
        "kversion": "Linux 6.14.11-2-pve #1 SMP PREEMPT_DYNAMIC",
        "pveversion": f"pve-manager/{VERSION['version']}/{VERSION['repoid']}",
        "uptime": int(time.time() - cluster.started),
    }


@table.get("nodes/{node}/hardware/pci")
async def hardware(cluster: Cluster, call: Call) -> list[dict[str, str | int]]:
    """PCI devices with their IOMMU groups."""
    blacklist = call.text("pci-class-blacklist") if call.has("pci-class-blacklist") else None
    return pci.listing(cluster.node(call.node), blacklist, verbose=call.flag("verbose", default=True))


@table.get("nodes/{node}/time")
async def read_time(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Clock and time zone; `localtime` is the local wall clock as if it were UTC, as Proxmox VE does it."""
    zone = cluster.state.nodes[call.node].timezone
    now = int(time.time())
    offset = datetime.fromtimestamp(now, tz=UTC).astimezone(ZoneInfo(zone)).utcoffset()
    return {"timezone": zone, "time": now, "localtime": now + int(offset.total_seconds() if offset else 0)}


@table.put("nodes/{node}/time")
async def set_time(cluster: Cluster, call: Call) -> None:
    """Set the time zone."""
    zone = call.required("timezone")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise bad_parameter("timezone", f"'{zone}' is no time zone of the tz database") from None
    cluster.state.nodes[call.node].timezone = zone


@table.get("nodes/{node}/dns")
async def read_dns(cluster: Cluster, call: Call) -> dict[str, str]:
    """Search domain and up to three servers."""
    return cluster.state.nodes[call.node].dns


@table.put("nodes/{node}/dns")
async def set_dns(cluster: Cluster, call: Call) -> None:
    """Replace search domain and servers."""
    call.required("search")
    wanted = ("search", "dns1", "dns2", "dns3")
    cluster.state.nodes[call.node].dns = {key: call.text(key) for key in wanted if call.has(key)}


@table.get("nodes/{node}/hosts")
async def read_hosts(cluster: Cluster, call: Call) -> dict[str, str]:
    """Content of `/etc/hosts`."""
    return {"data": cluster.state.nodes[call.node].hosts, "digest": "0" * 40}


@table.post("nodes/{node}/hosts")
async def set_hosts(cluster: Cluster, call: Call) -> None:
    """Replace `/etc/hosts`."""
    cluster.state.nodes[call.node].hosts = call.required("data")
