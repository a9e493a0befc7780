"""Power of VMs: from a configuration to a machine that the hypervisor runs, and back."""

import time

from lab.contracts import PciDevice
from lab.proxmox import bootcheck, pci, vmconfig, vmspec
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, not_found
from lab.proxmox.state import Vm


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
    if complaint := bootcheck.start_refusal(
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
    """Remove a VM with its disks and every trace in pools and access lists.

    Args:
        cluster: The cluster.
        vmid: The VM; it must be off.
        unreferenced: Whether disks that carry its number but are not in its configuration go too.
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
