"""After a run that was killed: makes the stack's state and the campus agree again, before anything new begins.

The engine notes every operation before it starts, so what may exist without being known is exactly its pending
operations. A VM that was being created is taken back, since nobody was ever given it; one that was being deleted and is gone
is forgotten, because a token of the pool may not even ask for it any more; a Helm release that was being installed loses
its records, and the next install adopts its objects. Everything else is idempotent.
"""

import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

from components.proxmox.client import Pve, PveError, wait_for_value
from config.errors import LyceumError
from ops.clients.kubernetes import MOVE_SECONDS, Kube
from ops.console import console
from ops.engine import file_backend
from ops.engine.engine import Engine, State
from ops.engine.lost import without_machines
from ops.engine.stack import PROJECT
from ops.wait import WaitTimeoutError, wait_until

VM = "proxmoxve:index/vmLegacy:VmLegacy"
RELEASE = "kubernetes:helm.sh/v3:Release"
LAST_WORD_SECONDS = 60
"""How long a question to the engine may outlive the command that was killed while it asked."""
IMPORT_SECONDS = 1800
"""A disk's import over a slow network lasts minutes."""
HELM_UNFINISHED = {"pending-install", "pending-upgrade", "pending-rollback"}


def settle(engine: Engine) -> State:
    """Releases a dead run's lock and deals with its pending operations; does nothing after a run that ended well.

    Returns:
        The state as it is now. Whoever holds the stack alone need not ask for it again: that takes a third of a second.
    """
    _release_lock(engine)
    state = engine.export()
    pending = state["deployment"].get("pending_operations") or []
    if not pending:
        return state
    console.print(f"[yellow]an earlier run was killed during {len(pending)} operation(s); settling them[/]")
    lost = {name for operation in pending if (name := _settle_one(engine, operation))}
    state["deployment"]["pending_operations"] = []
    engine.replace_state(without_machines(state, lost))
    return state


def _release_lock(engine: Engine) -> None:
    """The file backend's lock names its process; that of a dead process on this machine means nothing."""
    backend = file_backend.directory(engine.stack.environment["PULUMI_BACKEND_URL"])
    if backend is None:
        return
    for lock in backend.glob(f".pulumi/locks/**/{engine.stack.name}/*.json"):
        try:
            wait_until(f"whoever works on `{engine.stack.name}` to end", LAST_WORD_SECONDS, partial(_let_go, lock))
        except WaitTimeoutError:
            holder = json.loads(lock.read_text())
            raise LyceumError(
                f"`{engine.stack.name}` is locked by {holder['username']} on {holder['hostname']}, process {holder['pid']}, "
                f"since {holder['timestamp']}. If that run is dead: pulumi cancel --stack {engine.stack.name}"
            ) from None


def _let_go(lock: Path) -> bool:
    """Whether a lock is gone, or its process is: then it is taken away. Another machine's process may live."""
    try:
        holder = json.loads(lock.read_text())
    except FileNotFoundError:
        return True
    if holder["hostname"] != socket.gethostname() or Path(f"/proc/{holder['pid']}").exists():
        return False
    lock.unlink(missing_ok=True)
    return True


def _settle_one(engine: Engine, operation: dict[str, Any]) -> str:
    """Settles one; returns the name of the machine that it deleted, or nothing."""
    resource, kind = operation["resource"], operation["type"]
    name, lost = resource["urn"].rsplit("::", 1)[1], ""
    if resource["type"] == VM and kind == "creating":
        _take_back_vm(engine, resource["inputs"])
    elif resource["type"] == VM and kind == "deleting" and _deleted(engine, resource["inputs"]):
        lost = str(resource["inputs"]["name"])
    elif resource["type"] == RELEASE:
        _forget_helm(engine, resource["inputs"], everything=kind == "creating")
    console.print(f"  settled: {kind} {name}")
    return lost


def proxmox(engine: Engine) -> Pve:
    """The stack's Proxmox, with the stack's token."""
    settings = engine.stack.site.proxmox
    ca = str(PROJECT / settings.ca_file) if settings.ca_file else None
    return Pve(str(settings.endpoint), engine.stack.secret("proxmox-token"), ca)


def _take_back_vm(engine: Engine, inputs: State) -> None:
    pve, vm_id, node, name = proxmox(engine), int(inputs["vmId"]), inputs["nodeName"], inputs["name"]
    # It goes on with what it was asked for: a VM that is half made has no name yet, one that is started no peace.
    wait_for_value(
        f"Proxmox to end its work on VM {vm_id}", IMPORT_SECONDS, lambda: None if _at_work(pve, node, vm_id) else "done"
    )
    if vm_id not in vm_ids(engine):
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
    wait_for_value(f"VM {vm_id} to be gone", 120, lambda: None if vm_id in vm_ids(engine) else "gone")


def _deleted(engine: Engine, inputs: State) -> bool:
    """Whether a VM is gone; while Proxmox is still deleting it, for which it needs nobody, that is waited for."""
    pve, vm_id = proxmox(engine), int(inputs["vmId"])

    def decided() -> str | None:
        # The task before the VM: a VM that is gone when its task has ended must not be taken for one that is there.
        if _at_work(pve, inputs["nodeName"], vm_id, typefilter="qmdestroy"):
            return None
        return "there" if vm_id in vm_ids(engine) else "gone"

    return wait_for_value(f"Proxmox to delete VM {vm_id}", 120, decided) == "gone"


def _at_work(pve: Pve, node: str, vm_id: int, **only: str) -> bool:
    """Whether a task of Proxmox, or only one of a type, still works on a VM."""
    tasks = pve.call("GET", f"nodes/{node}/tasks", source="active", vmid=str(vm_id), **only)
    return any("endtime" not in task for task in tasks)


def vm_ids(engine: Engine) -> set[int]:
    """VMIDs of all VMs that Proxmox has. Asked for by its number, one that is gone answers 403 to a token of the pool.

    Raises:
        PveError: nobody knows; a token that does not see its pool is shown an empty list.
    """
    pve, pool = proxmox(engine), engine.stack.site.proxmox.pool
    if pool not in {entry["poolid"] for entry in pve.call("GET", "pools")}:
        raise PveError(f"the token does not see the pool {pool}: grant it Pool.Audit on /pool/{pool}")
    return {int(vm["vmid"]) for vm in pve.call("GET", "cluster/resources", type="vm")}


def _power_off(pve: Pve, path: str) -> None:
    if pve.call("GET", f"{path}/status/current")["status"] == "running":
        pve.call("POST", f"{path}/status/stop")
    status = f"{path}/status/current"
    wait_for_value(f"{path} to stop", 120, lambda: "yes" if pve.call("GET", status)["status"] == "stopped" else None)


def _forget_helm(engine: Engine, inputs: State, *, everything: bool) -> None:
    """Removes Helm's own records of a release: all of a first install, the unfinished one of an upgrade."""
    kube = Kube.of(engine, MOVE_SECONDS)
    if kube is None:
        return
    namespace, name = inputs["namespace"], inputs["name"]
    for record in kube.items(f"/api/v1/namespaces/{namespace}/secrets", labelSelector=f"owner=helm,name={name}"):
        if everything or record["metadata"]["labels"]["status"] in HELM_UNFINISHED:
            kube.delete(f"/api/v1/namespaces/{namespace}/secrets/{record['metadata']['name']}")
