"""`nodes/N/network`: the interfaces as the installer leaves them; the campus's real bridge is created elsewhere."""

from typing import Any

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.router import RouteTable

table = RouteTable()


@table.get("nodes/{node}/network")
async def list_interfaces(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """All interfaces; bridges only to those who may use or audit them."""
    wanted = call.text("type")
    shown = []
    for name, interface in sorted(cluster.state.nodes[call.node].network.items()):
        is_bridge = interface["type"] == "bridge"
        if wanted in ("bridge", "any_bridge", "any_local_bridge"):
            path = f"/sdn/zones/localnetwork/{name}"
            if not is_bridge or not cluster.access.has(call.identity, path, "SDN.Use", "SDN.Audit", any_of=True):
                continue
        elif wanted and interface["type"] != wanted:
            continue
        shown.append({**interface, "families": ["inet"]})
    return shown
