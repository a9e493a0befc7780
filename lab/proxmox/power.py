"""Power of VMs: from a configuration to a machine that the hypervisor runs, and back."""

import time
from collections.abc import Iterable

from lab.contracts import PciDevice, PveNode
from lab.proxmox import pci, vmconfig, vmspec
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, not_found
from lab.proxmox.state import Config, Vm

_HOST_RESERVE_MIB = 1024
"""Memory that the node itself needs; Proxmox VE asks for 1 GiB beside the guests."""


async def start(cluster: Cluster, vmid: int) -> None:
    """Check what QEMU would check, give the VM its devices, and boot it.

    Raises:
        ApiError: It would not start on a real node; the text is QEMU's or Proxmox VE's.
        HostFailed: The hypervisor could not boot it.
    """
    vm = cluster.state.vms.get(vmid)
    if vm is None:
        raise not_found(f"Configuration file 'qemu-server/{vmid}.conf'")
    if cluster.running(vmid):
        raise ApiError(500, f"VM {vmid} already running")
    node = cluster.node(vm.node)
    if complaint := _start_refusal(
        node, vm.config, [other.config for _id, other in cluster.occupants(node.name, vmid)]
    ):
        raise ApiError(500, complaint)
    devices = _assign_devices(cluster, vmid, vm)
    machine = vmspec.build_vm_spec(vmid, vm.node, vm.config, devices)
    vm.devices = [device.address for device in devices]
    cluster.starting.add(vmid)
    try:
        await cluster.hypervisor.start(machine)
    except BaseException:
        vm.devices = []
        raise
    finally:
        cluster.starting.discard(vmid)
    vm.active, vm.started = dict(vm.config), time.time()


async def stop(cluster: Cluster, vmid: int) -> None:
    """Cut the power. A VM that is off stays off."""
    await cluster.hypervisor.stop(vmid, force=True)
    _mark_off(cluster, vmid)


async def shutdown(cluster: Cluster, vmid: int) -> None:
    """Ask the guest to shut down."""
    await cluster.hypervisor.stop(vmid, force=False)
    _mark_off(cluster, vmid)


async def destroy(cluster: Cluster, vmid: int, *, unreferenced: bool) -> None:
    """Remove a VM that is off, with its disks and every trace in pools and access lists.

    With `unreferenced`, disks that carry its number but are not in its configuration go too.
    """
    vm = cluster.state.vms[vmid]
    await cluster.hypervisor.delete(vmid)
    for text in vmconfig.list_drives(vm.config).values():
        volume = vmconfig.volume_of(text)
        if volume and f"-{vmid}-" in volume:  # an ISO or another VM's disk stays
            cluster.volumes.free(vm.node, volume)
    if unreferenced:
        cluster.volumes.remove_volumes_of(vmid)
    del cluster.state.vms[vmid]
    for pool in cluster.state.pools.values():
        pool.vms = [member for member in pool.vms if member != vmid]
    cluster.state.acl = [entry for entry in cluster.state.acl if entry.path != f"/vms/{vmid}"]


def _mark_off(cluster: Cluster, vmid: int) -> None:
    if vm := cluster.state.vms.get(vmid):
        vm.active, vm.devices = None, []


def _assign_devices(cluster: Cluster, vmid: int, vm: Vm) -> list[PciDevice]:
    node = cluster.node(vm.node)
    held = {address: other for other, holder in cluster.occupants(node.name, vmid) for address in holder.devices}
    mappings = {name: mapping.map for name, mapping in cluster.state.mappings.items()}
    devices = pci.assign_devices(node, vmconfig.numbered_options(vm.config, "hostpci"), mappings, held)
    if conflict := pci.group_conflict(node, devices):
        raise ApiError(500, f"start failed: QEMU exited with code 1: {conflict}")
    return devices


def _start_refusal(node: PveNode, config: Config, others: Iterable[Config]) -> str | None:
    """The error of QEMU that a configuration meets beside those that run on the node, None when it would start."""
    q35 = str(config.get("machine", "")).startswith("q35")
    for unit in (1, 3):
        # q35's IDE buses have one unit each; the provider's default CD-ROM sits on ide3 (bpg issue 420).
        if q35 and f"ide{unit}" in config:
            return f"start failed: QEMU exited with code 1: Can't create IDE unit {unit}, bus supports only 1 units"
    if not q35 and any("pcie=1" in text for text in vmconfig.numbered_options(config, "hostpci").values()):
        return "q35 machine model is not enabled"
    wanted = vmspec.memory_mib(config)
    free = node.memory_mib - _HOST_RESERVE_MIB - sum(vmspec.memory_mib(other) for other in others)
    if wanted > free:
        # Passthrough pins every page and these VMs do not balloon, so QEMU allocates all of it at start.
        return (
            "start failed: QEMU exited with code 1: cannot set up guest memory 'pc.ram': Cannot allocate memory "
            f"(needs {wanted} MiB, node '{node.name}' has {max(free, 0)} MiB free)"
        )
    cores = int(config.get("cores", 1)) * int(config.get("sockets", 1))
    if cores > node.cpus:
        return f"MAX {node.cpus} vcpus allowed per VM on this node"
    return None
