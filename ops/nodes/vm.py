"""A virtual machine as Proxmox has it, touched only when VMID, name and tag all say that it is ours (capmox#856)."""

from collections.abc import Collection
from typing import Any

from components.proxmox.client import Pve, PveError, wait_for_value
from config.errors import LyceumError
from ops.clients.proxmox import list_vm_ids
from ops.console import console
from ops.engine.engine import Engine
from ops.engine.pulumi_state import State, Vm

STOP_SECONDS = 90
"""How long a guest may take to shut down before its power is cut."""
LYCEUM_TAG = "lyceum"


class ForeignVmError(LyceumError):
    """The VMID belongs to another machine, which is left alone."""


def find_vm(pve: Pve, machine: Vm) -> dict[str, Any] | None:
    """The VM as Proxmox lists it; None where it is gone.

    Raises:
        ForeignVmError: another machine has the VMID.
    """
    listed = {int(vm["vmid"]): vm for vm in pve.call("GET", "cluster/resources", type="vm")}
    vm: dict[str, Any] | None = listed.get(machine.vm_id)
    if vm is None:
        return None
    tags = str(vm.get("tags", "")).replace(",", ";").split(";")
    if vm.get("name") != machine.name or LYCEUM_TAG not in tags:
        raise ForeignVmError(
            f"VM {machine.vm_id} on {vm['node']} is `{vm.get('name')}` with tags `{vm.get('tags', '')}`, not our "
            f"`{machine.name}`: it is left alone. If {machine.name} was deleted in Proxmox: pulumi refresh forgets it"
        )
    return vm


def missing_from_proxmox(engine: Engine, known: Collection[Vm]) -> list[Vm]:
    """Those that Proxmox no longer has."""
    have = list_vm_ids(engine) if known else set[int]()
    return [one for one in known if one.vm_id not in have]


def prepare_deletion(engine: Engine, state: State, going: Collection[Vm]) -> State:
    """The state in which these machines may go: without protection, and without those that Proxmox no longer has.

    The engine would ask Proxmox to delete those once more, and a token of the pool gets 403 for a VM that is in no pool.
    """
    if gone := {one.name for one in missing_from_proxmox(engine, going)}:
        console.print(f"[dim]{', '.join(sorted(gone))}: gone from Proxmox already[/]")
    return state.unprotected({one.urn for one in going}).without_machines(gone)


def is_stopped(pve: Pve, machine: Vm) -> bool:
    """Whether the VM is gone or has no power."""
    vm = find_vm(pve, machine)
    return vm is None or vm["status"] == "stopped"


def shut_down(pve: Pve, machine: Vm) -> None:
    """Asks the guest to shut down, then cuts the power."""
    vm = find_vm(pve, machine)
    if vm is None:
        return
    path = f"nodes/{vm['node']}/qemu/{machine.vm_id}/status"
    try:
        pve.call("POST", f"{path}/shutdown", timeout=str(STOP_SECONDS), forceStop="1")
    except PveError:
        # A guest that cannot be asked still has a power button.
        pve.call("POST", f"{path}/stop")
    wait_for_value(f"{machine.name} to be off", STOP_SECONDS + 60, lambda: "off" if is_stopped(pve, machine) else None)
