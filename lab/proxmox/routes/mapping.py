"""`cluster/mapping/pci`: names for devices, which a token can pass to VMs."""

from typing import Any

from lab.proxmox import pci, propstring
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, not_found
from lab.proxmox.router import RouteTable
from lab.proxmox.state import PciMapping

table = RouteTable()


def _describe(name: str, mapping: PciMapping) -> dict[str, Any]:
    return {
        "id": name,
        "type": "pci",
        "map": mapping.map,
        "description": mapping.description,
        "mdev": int(mapping.mdev),
    }


@table.get("cluster/mapping/pci")
async def list_mappings(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The mappings that the caller may see; with `check-node` each is checked against that node's hardware."""
    entries = []
    for name, mapping in sorted(cluster.state.mappings.items()):
        path = f"/mapping/pci/{name}"
        if not cluster.access.has(call.identity, path, "Mapping.Modify", "Mapping.Use", "Mapping.Audit", any_of=True):
            continue
        entry = _describe(name, mapping)
        if call.has("check-node"):
            entry["checks"] = _check_entries(cluster, call.text("check-node"), mapping)
        entries.append(entry)
    return entries


def _check_entries(cluster: Cluster, node_name: str, mapping: PciMapping) -> list[dict[str, str]]:
    node = cluster.node(node_name)
    local = [entry for entry in mapping.map if propstring.parse(entry)[1].get("node") == node_name]
    if not local:
        return [{"severity": "warning", "message": f"No mapping for node {node_name}."}]
    complaints = [pci.check_mapping(node, entry) for entry in local]
    return [
        {"severity": "error", "message": f"Invalid configuration: {complaint}"} for complaint in complaints if complaint
    ]


@table.post("cluster/mapping/pci")
async def create_mapping(cluster: Cluster, call: Call) -> None:
    """Add a mapping."""
    name = call.required("id")
    if name in cluster.state.mappings:
        raise ApiError(500, f"PCI mapping '{name}' already exists")
    cluster.state.mappings[name] = PciMapping(
        map=_read_entries(call), description=call.text("description"), mdev=call.flag("mdev")
    )


@table.get("cluster/mapping/pci/{id}")
async def read_mapping(cluster: Cluster, call: Call) -> dict[str, Any]:
    """One mapping."""
    return _describe(call["id"], _find_mapping(cluster, call))


@table.put("cluster/mapping/pci/{id}")
async def update_mapping(cluster: Cluster, call: Call) -> None:
    """Change a mapping."""
    mapping = _find_mapping(cluster, call)
    if call.has("map"):
        mapping.map = _read_entries(call)
    if call.has("description") or "description" in call.items("delete"):
        mapping.description = call.text("description")
    if call.has("mdev") or "mdev" in call.items("delete"):
        mapping.mdev = call.flag("mdev")


@table.delete("cluster/mapping/pci/{id}")
async def delete_mapping(cluster: Cluster, call: Call) -> None:
    """Remove a mapping."""
    _find_mapping(cluster, call)
    del cluster.state.mappings[call["id"]]


def _find_mapping(cluster: Cluster, call: Call) -> PciMapping:
    if call["id"] not in cluster.state.mappings:
        raise not_found(f"PCI mapping '{call['id']}'")
    return cluster.state.mappings[call["id"]]


def _read_entries(call: Call) -> list[str]:
    entries = call.repeated("map")
    if not entries:
        raise bad_parameter("map", "property is missing and it is not optional")
    for entry in entries:
        _value, options = propstring.parse(entry)
        for key in ("id", "node", "path"):
            if key not in options:
                raise bad_parameter("map", f"invalid format - {key}: property is missing and it is not optional")
    return entries
