"""`version`, and `cluster/...` except mappings."""

import time
from typing import Any

from lab.proxmox import propstring, vmspec
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import bad_parameter
from lab.proxmox.propstring import MIB
from lab.proxmox.router import RouteTable
from lab.proxmox.routes.storage import list_visible_storages, storage_figures

table = RouteTable()

VERSION = {"version": "9.0.10", "release": "9.0", "repoid": "deb1ca707ec72a89", "console": "html5"}
"""What the simulator claims to be; privileges follow Proxmox VE 9."""


@table.get("version")
async def read_version(_cluster: Cluster, _call: Call) -> dict[str, str]:
    """Version of the API."""
    return VERSION


@table.get("cluster/status")
async def read_cluster_status(cluster: Cluster, _call: Call) -> list[dict[str, Any]]:
    """Quorum and members."""
    conditions = cluster.faults.conditions
    nodes = cluster.spec.nodes
    members = [
        {
            "type": "node",
            "id": f"node/{node.name}",
            "name": node.name,
            "ip": node.address,
            "nodeid": number,
            "online": int(node.name not in conditions.offline),
            "local": int(number == 1),
            "level": "",
        }
        for number, node in enumerate(nodes, start=1)
    ]
    head = {
        "type": "cluster",
        "id": "cluster",
        "name": cluster.spec.name,
        "nodes": len(nodes),
        "quorate": int(conditions.quorate),
        "version": len(nodes),
    }
    return [head, *members]


@table.get("cluster/resources")
async def list_resources(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """Everything in the cluster that the caller may see; `type` selects `vm`, `node`, `storage` or `pool`."""
    kinds = {"vm": _vm_entries, "node": node_entries, "storage": _storage_entries, "pool": _pool_entries}
    wanted = call.text("type")
    if wanted and wanted not in (*kinds, "sdn"):
        raise bad_parameter("type", f"value '{wanted}' does not have a value in the enumeration 'vm, storage, node'")
    listers = [lister for kind, lister in kinds.items() if wanted in ("", kind)]
    return [entry for lister in listers for entry in lister(cluster, call)]


def _vm_entries(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    return [
        vm_entry(cluster, vmid) | {"id": f"qemu/{vmid}", "type": "qemu"}
        for vmid in sorted(cluster.state.vms)
        if cluster.access.has(call.identity, f"/vms/{vmid}", "VM.Audit")
    ]


def vm_entry(cluster: Cluster, vmid: int) -> dict[str, Any]:
    """What lists of VMs show of one."""
    vm = cluster.state.vms[vmid]
    running = cluster.running(vmid)
    entry: dict[str, Any] = {
        "vmid": vmid,
        "node": vm.node,
        "name": vm.config.get("name", f"VM {vmid}"),
        "status": "running" if running else "stopped",
        "template": vm.config.get("template", 0),
        "maxcpu": int(vm.config.get("cores", 1)) * int(vm.config.get("sockets", 1)),
        "maxmem": vmspec.memory_mib(vm.config) * MIB,
        "maxdisk": 0,
        "mem": vmspec.memory_mib(vm.config) * MIB if running else 0,
        "cpu": 0.01 if running else 0.0,
        "disk": 0,
        "uptime": int(time.time() - vm.started) if running else 0,
    }
    if tags := vm.config.get("tags"):
        entry["tags"] = tags
    if vm.lock:
        entry["lock"] = vm.lock
    if pool := cluster.state.pool_of(vmid):
        entry["pool"] = pool
    return entry


def node_entries(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The nodes; figures only where the caller may audit them."""
    entries = []
    for node in cluster.spec.nodes:
        online = node.name not in cluster.faults.conditions.offline
        entry: dict[str, Any] = {
            "id": f"node/{node.name}",
            "type": "node",
            "node": node.name,
            "status": "online" if online else "offline",
            "level": "",
            "ssl_fingerprint": "",  # a string or the provider's node list fails; the simulator sees no certificate
        }
        if online and cluster.access.has(call.identity, f"/nodes/{node.name}", "Sys.Audit"):
            entry |= {
                "cpu": 0.02,
                "maxcpu": node.cpus,
                "mem": used_memory(cluster, node.name) * MIB,
                "maxmem": node.memory_mib * MIB,
                "maxdisk": node.disk_gib * propstring.GIB,
                "uptime": int(time.time() - cluster.started),
            }
        entries.append(entry)
    return entries


def used_memory(cluster: Cluster, node: str) -> int:
    """MiB that a node and its running VMs occupy; the node itself takes about 2 GiB."""
    return 2048 + sum(vmspec.memory_mib(vm.config) for _vmid, vm in cluster.occupants(node, besides=0))


def _storage_entries(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    entries = []
    for node in cluster.spec.nodes:
        for storage in list_visible_storages(cluster, call, node.name):
            figures = storage_figures(cluster, node.name, storage)
            entries.append(
                {
                    "id": f"storage/{node.name}/{storage.name}",
                    "type": "storage",
                    "storage": storage.name,
                    "node": node.name,
                    "status": "available",
                    "plugintype": storage.type,
                    "shared": figures["shared"],
                    "disk": figures["used"],
                    "maxdisk": figures["total"],
                }
            )
    return entries


def _pool_entries(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    return [
        {"id": f"/pool/{name}", "type": "pool", "pool": name}
        for name in sorted(cluster.state.pools)
        if cluster.access.has(call.identity, f"/pool/{name}", "Pool.Audit")
    ]


@table.get("cluster/nextid")
async def find_next_id(cluster: Cluster, call: Call) -> str:
    """The VM number that is asked for, if it is free."""
    vmid = call.number("vmid", call.required("vmid"))
    if vmid in cluster.state.vms:
        raise bad_parameter("vmid", f"VM {vmid} already exists")
    return str(vmid)
