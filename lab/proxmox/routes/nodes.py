"""`nodes`: hardware, status, time, DNS, and the network as the installer leaves it."""

import time
from typing import Any

from lab.contracts import LabSpec, PveNode
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
    return pci.list_devices(cluster.node(call.node))


@table.get("nodes/{node}/time")
async def read_time(_cluster: Cluster, _call: Call) -> dict[str, Any]:
    """Clock and time zone; every node keeps UTC."""
    now = int(time.time())
    return {"timezone": "UTC", "time": now, "localtime": now}


@table.get("nodes/{node}/dns")
async def read_dns(cluster: Cluster, _call: Call) -> dict[str, str]:
    """Search domain and up to three servers."""
    return {"search": "lab", "dns1": str(cluster.spec.gateway)}


@table.get("nodes/{node}/network")
async def list_interfaces(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """All interfaces; bridges only to those who may use or audit them."""
    wanted = call.text("type")
    shown = []
    for interface in _installed_interfaces(cluster.node(call.node), cluster.spec):
        interface.update(cluster.faults.conditions.interfaces.get(f"{call.node}/{interface['iface']}", {}))
        is_bridge = interface["type"] == "bridge"
        if wanted in ("bridge", "any_bridge", "any_local_bridge"):
            path = f"/sdn/zones/localnetwork/{interface['iface']}"
            if not is_bridge or not cluster.access.has(call.identity, path, "SDN.Use", "SDN.Audit", any_of=True):
                continue
        elif wanted and interface["type"] != wanted:
            continue
        shown.append(interface)
    return shown


def _installed_interfaces(node: PveNode, spec: LabSpec) -> list[dict[str, Any]]:
    """A network card and the bridges; the first bridge has the card and the node's address."""
    manual = {"method": "manual", "method6": "manual", "families": ["inet"]}
    found = [{"iface": "eno1", "type": "eth", "active": 1, "exists": 1, **manual}]
    for bridge in node.bridges:
        shown = {"iface": bridge, "type": "bridge", "active": 1, "autostart": 1, "bridge_vlan_aware": 1, **manual}
        if bridge == node.bridges[0]:
            prefix = spec.cidr.prefixlen
            shown |= {"bridge_ports": "eno1", "method": "static", "gateway": str(spec.gateway)}
            shown |= {"address": node.address, "netmask": str(prefix), "cidr": f"{node.address}/{prefix}"}
        found.append(shown)
    return [interface | {"priority": priority} for priority, interface in enumerate(found, start=2)]
