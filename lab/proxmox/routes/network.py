"""`nodes/N/network`: interfaces are kept and shown; the campus's real bridge is made elsewhere."""

from typing import Any

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import bad_parameter
from lab.proxmox.router import Table
from lab.proxmox.state import TaskRecord

table = Table()

_NUMBERS = frozenset({"autostart", "bridge_vlan_aware", "active", "exists", "priority"})
"""Fields that are JSON numbers; `vlan-id` and `mtu` must stay strings, or the provider refuses the answer."""

Interface = dict[str, str | int]


def _interfaces(cluster: Cluster, call: Call) -> dict[str, Interface]:
    return cluster.state.nodes[call.node].network


@table.get("nodes/{node}/network")
async def list_interfaces(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """All interfaces; bridges only to those who may use or audit them."""
    wanted = call.text("type")
    shown = []
    for name, interface in sorted(_interfaces(cluster, call).items()):
        is_bridge = interface["type"] == "bridge"
        if wanted in ("bridge", "any_bridge", "any_local_bridge"):
            path = f"/sdn/zones/localnetwork/{name}"
            if not is_bridge or not cluster.access.has(call.identity, path, "SDN.Use", "SDN.Audit", any_of=True):
                continue
        elif wanted and interface["type"] != wanted:
            continue
        shown.append({**interface, "families": ["inet"]})
    return shown


@table.get("nodes/{node}/network/{iface}")
async def read_interface(cluster: Cluster, call: Call) -> dict[str, Any]:
    """One interface."""
    return {**_interface(cluster, call), "families": ["inet"]}


@table.post("nodes/{node}/network")
async def create_interface(cluster: Cluster, call: Call) -> None:
    """Add an interface."""
    name = call.required("iface")
    if name in _interfaces(cluster, call):
        raise bad_parameter("iface", "interface already exists")
    _interfaces(cluster, call)[name] = _completed(name, call.plain())


@table.put("nodes/{node}/network/{iface}")
async def update_interface(cluster: Cluster, call: Call) -> None:
    """Change an interface."""
    kept = {key: str(value) for key, value in _interface(cluster, call).items() if key not in call.items("delete")}
    changes = {key: value for key, value in call.plain().items() if key != "delete"}
    _interfaces(cluster, call)[call["iface"]] = _completed(call["iface"], kept | changes)


@table.delete("nodes/{node}/network/{iface}")
async def delete_interface(cluster: Cluster, call: Call) -> None:
    """Remove an interface."""
    _interface(cluster, call)
    del _interfaces(cluster, call)[call["iface"]]


@table.put("nodes/{node}/network")
async def reload(cluster: Cluster, call: Call) -> str:
    """Apply the pending configuration; here a task that has nothing to do."""

    async def nothing(record: TaskRecord) -> None:
        record.log.append("reloading the network configuration")

    return cluster.tasks.start(call.node, "srvreload", "networking", call, nothing)


@table.delete("nodes/{node}/network")
async def revert(cluster: Cluster, call: Call) -> None:
    """Drop pending changes; there are none, changes apply at once."""


def _interface(cluster: Cluster, call: Call) -> Interface:
    if call["iface"] not in _interfaces(cluster, call):
        raise bad_parameter("iface", "interface does not exist")
    return _interfaces(cluster, call)[call["iface"]]


def _completed(name: str, fields: dict[str, str]) -> Interface:
    """Add what Proxmox VE derives from what was sent."""
    if "type" not in fields:
        raise bad_parameter("type", "property is missing and it is not optional")
    fields = {"method": "manual", "method6": "manual", "priority": "9"} | fields | {"iface": name}
    if "cidr" in fields:
        fields["address"], _, fields["netmask"] = fields["cidr"].partition("/")
        fields["method"] = "static"
    if fields["type"] == "vlan" and "." in name:
        device, _, tag = name.rpartition(".")
        fields = {"vlan-raw-device": device, "vlan-id": tag} | fields
    fields |= {"active": "1", "exists": "1"}
    return {key: int(value) if key in _NUMBERS else value for key, value in fields.items()}
