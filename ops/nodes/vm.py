"""Virtual machines in Proxmox, touched only when VMID, name and tag all show that they are Lyceum's (capmox#856)."""

from collections.abc import Collection
from typing import Any

from components.proxmox.client import Pve, PveError, wait_for_value
from config.errors import LyceumError
from ops.clients.proxmox import list_vm_ids
from ops.console import console
from ops.engine.engine import Engine
from ops.engine.pulumi_state import State, Vm

STOP_SECONDS = 90
"""How long a guest may take to shut down before the VM is stopped."""
LYCEUM_TAG = "lyceum"


class ForeignVmError(LyceumError):
    """The VMID belongs to another machine, which is left alone."""


def find_vm(pve: Pve, vm: Vm) -> dict[str, Any] | None:
    """The VM as Proxmox lists it; None if it does not exist.

    Raises:
        ForeignVmError: another machine has the VMID.
    """
    listed = {int(entry["vmid"]): entry for entry in pve.call("GET", "cluster/resources", type="vm")}
    found: dict[str, Any] | None = listed.get(vm.vm_id)
    if found is None:
        return None
    tags = str(found.get("tags", "")).replace(",", ";").split(";")
    if found.get("name") != vm.name or LYCEUM_TAG not in tags:
        raise ForeignVmError(
            f"VM {vm.vm_id} on {found['node']} is `{found.get('name')}` with tags `{found.get('tags', '')}`, not Lyceum's "
            f"`{vm.name}`: it is left alone. If {vm.name} was deleted in Proxmox, `pulumi refresh` removes it from the state"
        )
    return found


def missing_from_proxmox(engine: Engine, vms: Collection[Vm]) -> list[Vm]:
    """The VMs that Proxmox no longer has."""
    existing = list_vm_ids(engine) if vms else set[int]()
    return [vm for vm in vms if vm.vm_id not in existing]


def prepare_deletion(engine: Engine, state: State, vms: Collection[Vm]) -> State:
    """The state in which the engine can delete these VMs: unprotected, and without those that Proxmox no longer has.

    The engine would query Proxmox for those once more, and a token of the pool gets 403 for a VM that is in no pool.
    """
    if missing := {vm.name for vm in missing_from_proxmox(engine, vms)}:
        console.print(f"[dim]{', '.join(sorted(missing))}: gone from Proxmox already[/]")
    return state.unprotected({vm.urn for vm in vms}).without_machines(missing)


def is_stopped(pve: Pve, vm: Vm) -> bool:
    """Whether the VM is stopped or does not exist."""
    found = find_vm(pve, vm)
    return found is None or found["status"] == "stopped"


def shut_down(pve: Pve, vm: Vm) -> None:
    """Shuts the guest down, and stops the VM if that fails or takes longer than `STOP_SECONDS`."""
    found = find_vm(pve, vm)
    if found is None:
        return
    path = f"nodes/{found['node']}/qemu/{vm.vm_id}/status"
    try:
        pve.call("POST", f"{path}/shutdown", timeout=str(STOP_SECONDS), forceStop="1")
    except PveError:
        # A guest that does not react to a shutdown can still be stopped.
        pve.call("POST", f"{path}/stop")
    wait_for_value(f"{vm.name} to stop", STOP_SECONDS + 60, lambda: "off" if is_stopped(pve, vm) else None)
