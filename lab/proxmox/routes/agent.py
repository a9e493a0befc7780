"""`nodes/N/qemu/ID/agent`: questions to the guest."""

from typing import Any

from lab.contracts import AgentSilent
from lab.proxmox import vmspec
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError
from lab.proxmox.router import RouteTable

table = RouteTable()

_AGENT = "nodes/{node}/qemu/{vmid}/agent"


async def _call_agent(cluster: Cluster, call: Call, command: str, arguments: dict[str, str] | None = None) -> Any:
    cluster.vm(call.node, call.vmid)
    if not vmspec.agent_enabled(cluster.active_config(call.vmid)):
        raise ApiError(500, "No QEMU guest agent configured")
    if not cluster.running(call.vmid):
        raise ApiError(500, f"VM {call.vmid} is not running")
    try:
        return await cluster.hypervisor.agent(call.vmid, command, arguments or {})
    except AgentSilent:
        raise ApiError(500, "QEMU guest agent is not running") from None


@table.post(_AGENT + "/ping")
async def ping_agent(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Whether the agent answers."""
    return {"result": await _call_agent(cluster, call, "ping")}


@table.get(_AGENT + "/file-read")
async def read_file(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Content of a file in the guest."""
    file = call.required("file")
    try:
        answer = await _call_agent(cluster, call, "file-read", {"file": file})
    except FileNotFoundError:
        raise ApiError(
            500, f"Agent error: failed to open file '{file}' (mode: 'r'): No such file or directory"
        ) from None
    return dict(answer)
