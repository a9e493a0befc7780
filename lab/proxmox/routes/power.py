"""`nodes/N/qemu/ID/status`: the power of machines."""

from collections.abc import Awaitable, Callable
from typing import Any

from lab.proxmox import power, vmspec
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError
from lab.proxmox.propstring import MIB
from lab.proxmox.router import RouteTable
from lab.proxmox.routes.cluster import vm_entry
from lab.proxmox.state import TaskRecord

table = RouteTable()

_VM = "nodes/{node}/qemu/{vmid}"


@table.get(_VM + "/status/current")
async def read_vm_status(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Power state and figures."""
    vm = cluster.vm(call.node, call.vmid)
    shown = vm_entry(cluster, call.vmid)
    del shown["node"]
    return {
        **shown,
        "qmpstatus": shown["status"],
        "cpus": shown["maxcpu"],
        "balloon": vmspec.memory_mib(vm.config) * MIB,
        "ha": {"managed": 0},
        "agent": int(vmspec.agent_enabled(vm.config)),
    }


def _start_power_task(
    cluster: Cluster, call: Call, kind: str, action: Callable[[Cluster, int], Awaitable[None]]
) -> str:
    """Start a task that does something to the power of an unlocked VM while it holds its lock."""
    cluster.unlocked_vm(call.node, call.vmid)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            cluster.unlocked_vm(call.node, call.vmid)
            await action(cluster, call.vmid)

    return cluster.tasks.start(call.node, kind, str(call.vmid), call, work)


@table.post(_VM + "/status/start")
async def start_vm(cluster: Cluster, call: Call) -> str:
    """Switch on."""
    return _start_power_task(cluster, call, "qmstart", power.start)


@table.post(_VM + "/status/stop")
async def stop_vm(cluster: Cluster, call: Call) -> str:
    """Cut the power."""
    return _start_power_task(cluster, call, "qmstop", power.stop)


@table.post(_VM + "/status/shutdown")
async def shutdown_vm(cluster: Cluster, call: Call) -> str:
    """Ask the guest to shut down."""
    return _start_power_task(cluster, call, "qmshutdown", power.shutdown)


@table.post(_VM + "/status/reboot")
async def reboot_vm(cluster: Cluster, call: Call) -> str:
    """Shut down and start again; pending changes take effect."""
    cluster.vm(call.node, call.vmid)
    if not cluster.running(call.vmid):
        raise ApiError(500, f"VM {call.vmid} not running")

    async def action(cluster: Cluster, vmid: int) -> None:
        await power.shutdown(cluster, vmid)
        await power.start(cluster, vmid)

    return _start_power_task(cluster, call, "qmreboot", action)
