"""After a run that was killed: makes the stack's state and the campus agree again before anything new starts.

The engine records every operation before it starts, so what may exist without being known is exactly its pending
operations. A VM that was being created is deleted, since nobody was ever given it; one that was being deleted and is gone
is dropped from the state, because a token of the pool may not even ask for it any more; a Helm release that was being
installed loses its records, and the next install adopts its objects. Everything else is idempotent.
"""

import json
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from components.proxmox.client import Pve, wait_for_value
from config.errors import LyceumError
from config.resource_names import RELEASE_TYPE, VM_TYPE
from ops.clients.kubernetes import MOVE_SECONDS, Kube
from ops.clients.proxmox import connect_proxmox, list_vm_ids
from ops.console import console
from ops.engine import file_backend
from ops.engine.engine import Engine
from ops.engine.pulumi_state import PendingOperation, State
from ops.wait import WaitTimeoutError, wait_until

LOCK_SECONDS = 60
"""How long a query of the engine may outlive the command that was killed while it waited for the answer."""
IMPORT_SECONDS = 1800
"""A disk's import over a slow network lasts minutes."""
DELETE_SECONDS = 120
HELM_UNFINISHED = {"pending-install", "pending-upgrade", "pending-rollback"}


def resolve_pending_operations(engine: Engine) -> State:
    """Removes a dead run's lock and resolves its pending operations; does nothing after a run that ended well.

    Returns:
        The state as it is now. Whoever holds the stack's lock need not export it again: that takes a third of a second.
    """
    _wait_for_backend_lock(engine)
    state = engine.export()
    if not (pending := state.pending_operations):
        return state
    console.print(f"[yellow]an earlier run was killed during {len(pending)} operation(s); resolving them[/]")
    deleted = {name for operation in pending if (name := _resolve(engine, operation))}
    state = state.without_pending_operations().without_machines(deleted)
    engine.replace_state(state)
    return state


def _wait_for_backend_lock(engine: Engine) -> None:
    """The file backend's lock names its process; that of a dead process on this machine means nothing."""
    backend = file_backend.backend_directory(engine.stack.environment["PULUMI_BACKEND_URL"])
    if backend is None:
        return
    for lock in backend.glob(f".pulumi/locks/**/{engine.stack.name}/*.json"):
        try:
            wait_until(
                f"the run that holds `{engine.stack.name}` to end", LOCK_SECONDS, partial(_remove_stale_lock, lock)
            )
        except WaitTimeoutError:
            holder = json.loads(lock.read_text())
            raise LyceumError(
                f"`{engine.stack.name}` is locked by {holder['username']} on {holder['hostname']}, process {holder['pid']}, "
                f"since {holder['timestamp']}. If that run is dead: pulumi cancel --stack {engine.stack.name}"
            ) from None


def _remove_stale_lock(lock: Path) -> bool:
    """Whether the lock is gone; removes it where its process is. A process of another machine may be alive."""
    try:
        holder = json.loads(lock.read_text())
    except FileNotFoundError:
        return True
    if holder["hostname"] != socket.gethostname() or Path(f"/proc/{holder['pid']}").exists():
        return False
    lock.unlink(missing_ok=True)
    return True


def _resolve(engine: Engine, operation: PendingOperation) -> str:
    """Resolves one; returns the name of the machine that it deleted, or nothing."""
    resource, kind, deleted = operation.resource, operation.kind, ""
    if resource.type == VM_TYPE and kind == "creating":
        _delete_unknown_vm(engine, resource.inputs)
    elif resource.type == VM_TYPE and kind == "deleting" and _is_deleted(engine, resource.inputs):
        deleted = str(resource.inputs["name"])
    elif resource.type == RELEASE_TYPE:
        _delete_helm_records(engine, resource.inputs, everything=kind == "creating")
    console.print(f"  resolved: {kind} {resource.name}")
    return deleted


def _delete_unknown_vm(engine: Engine, inputs: Mapping[str, Any]) -> None:
    """Deletes a VM whose creation was cut off; one of another name or without our tag is left alone."""
    pve, vm_id, node, name = connect_proxmox(engine), int(inputs["vmId"]), inputs["nodeName"], inputs["name"]
    # Its tasks go on without us: a half-made VM has no name yet, and one that is being started cannot be deleted.
    wait_for_value(
        f"Proxmox to end its tasks on VM {vm_id}",
        IMPORT_SECONDS,
        lambda: None if _has_active_task(pve, node, vm_id) else "done",
    )
    if vm_id not in list_vm_ids(engine):
        return
    path = f"nodes/{node}/qemu/{vm_id}"
    config = pve.call("GET", f"{path}/config")
    if config.get("name") != name or "lyceum" not in str(config.get("tags", "")).split(";"):
        raise LyceumError(
            f"VM {vm_id} on {node} is `{config.get('name')}` with tags `{config.get('tags', '')}`, not our `{name}`: "
            f"it is left alone. Give {name} another vm-id, or delete that VM yourself"
        )
    _power_off(pve, path)
    pve.call("DELETE", path, purge="1", **{"destroy-unreferenced-disks": "1"})
    wait_for_value(f"VM {vm_id} to be gone", DELETE_SECONDS, lambda: None if vm_id in list_vm_ids(engine) else "gone")


def _is_deleted(engine: Engine, inputs: Mapping[str, Any]) -> bool:
    """Whether a VM is gone; waits while Proxmox is still deleting it, which it does without us."""
    pve, vm_id = connect_proxmox(engine), int(inputs["vmId"])

    def outcome() -> str | None:
        # The task before the VM: a VM that is gone when its task has ended must not be taken for one that is there.
        if _has_active_task(pve, inputs["nodeName"], vm_id, typefilter="qmdestroy"):
            return None
        return "there" if vm_id in list_vm_ids(engine) else "gone"

    return wait_for_value(f"Proxmox to delete VM {vm_id}", DELETE_SECONDS, outcome) == "gone"


def _has_active_task(pve: Pve, node: str, vm_id: int, **only: str) -> bool:
    """Whether a task of Proxmox, or only one of a type, still works on a VM."""
    tasks = pve.call("GET", f"nodes/{node}/tasks", source="active", vmid=str(vm_id), **only)
    return any("endtime" not in task for task in tasks)


def _power_off(pve: Pve, path: str) -> None:
    status = f"{path}/status/current"
    if pve.call("GET", status)["status"] == "running":
        pve.call("POST", f"{path}/status/stop")
    wait_for_value(f"{path} to stop", 120, lambda: "yes" if pve.call("GET", status)["status"] == "stopped" else None)


def _delete_helm_records(engine: Engine, inputs: Mapping[str, Any], *, everything: bool) -> None:
    """Deletes Helm's own records of a release: all of a first install, the unfinished one of an upgrade."""
    kube = Kube.connect(engine, MOVE_SECONDS)
    if kube is None:
        return
    namespace, name = inputs["namespace"], inputs["name"]
    for record in kube.items(f"/api/v1/namespaces/{namespace}/secrets", labelSelector=f"owner=helm,name={name}"):
        if everything or record["metadata"]["labels"]["status"] in HELM_UNFINISHED:
            kube.delete(f"/api/v1/namespaces/{namespace}/secrets/{record['metadata']['name']}")
