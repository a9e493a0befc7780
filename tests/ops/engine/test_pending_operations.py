"""The engine's lock and what it had begun, after a command was killed."""

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from components.proxmox.client import PveError
from config.errors import LyceumError
from config.resource_names import VM_TYPE
from ops.clients import proxmox
from ops.engine import pending_operations
from ops.engine.engine import Engine
from ops.engine.pulumi_state import State


def locked(backend: Path, pid: int, host: str) -> Path:
    """A lock as the file backend writes it."""
    lock = backend / ".pulumi" / "locks" / "organization" / "lyceum" / "dev" / "one.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": pid, "hostname": host, "username": "ada", "timestamp": "today"}))
    return lock


def stack(backend: Path) -> Engine:
    environment = {"PULUMI_BACKEND_URL": f"file://{backend}"}
    return cast("Engine", SimpleNamespace(stack=SimpleNamespace(name="dev", environment=environment)))


def test_what_a_killed_command_still_asked_is_waited_for(tmp_path: Path) -> None:
    """Only the command was killed; the engine that it asked ends by itself a moment later."""
    with subprocess.Popen(["sleep", "1"]) as engine, ThreadPoolExecutor() as pool:
        lock = locked(tmp_path, engine.pid, socket.gethostname())
        pool.submit(engine.wait)
        pending_operations._wait_for_backend_lock(stack(tmp_path))

    assert not lock.exists()


def test_a_lock_of_another_machine_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_operations, "LOCK_SECONDS", 0)
    lock = locked(tmp_path, 1, "elsewhere")
    with pytest.raises(LyceumError, match="pulumi cancel --stack dev"):
        pending_operations._wait_for_backend_lock(stack(tmp_path))

    assert lock.exists()


class Deleting:
    """A Proxmox whose deletion of VM 141 takes so many questions; it ends well or not."""

    def __init__(self, questions: int, *, gone: bool, sees_pool: bool = True) -> None:
        self.questions, self.gone, self.sees_pool = questions, gone, sees_pool

    def call(self, method: str, path: str, **parameters: str) -> list[dict[str, object]]:
        assert method == "GET", "what the engine deletes, it deletes"
        if path == "nodes/pve1/tasks":
            assert parameters == {"source": "active", "typefilter": "qmdestroy", "vmid": "141"}
            self.questions -= 1
            return [{"type": "qmdestroy"}] if self.questions >= 0 else [{"type": "qmdestroy", "endtime": 7}]
        if path == "pools":
            return [{"poolid": "campus"}] if self.sees_pool else []
        assert path == "cluster/resources"
        assert self.questions < 0, "before the task has ended, whether the VM is listed says nothing"
        return [] if self.gone else [{"vmid": 141}]


def pending(pve: Deleting, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A stack of two machines, killed while the first one's VM was deleted."""
    monkeypatch.setattr(pending_operations, "connect_proxmox", lambda _: pve)
    monkeypatch.setattr(proxmox, "connect_proxmox", lambda _: pve)
    monkeypatch.setattr(pending_operations, "_wait_for_backend_lock", lambda _: None)
    inputs = {"name": "gpu-1", "vmId": 141, "nodeName": "pve1"}
    vm = {"type": VM_TYPE, "urn": "urn::gpu-1-vm", "inputs": inputs}
    state = State(
        {
            "deployment": {
                "resources": [
                    vm,
                    {"type": "x", "urn": "urn::gpu-1-k3s", "dependencies": ["urn::gpu-1-vm"]},
                    {"type": "x", "urn": "urn::gpu-2-k3s", "dependencies": ["urn::gpu-1-vm", "urn::server-1-k3s"]},
                ],
                "pending_operations": [{"resource": vm, "type": "deleting"}],
            }
        }
    )
    site = SimpleNamespace(proxmox=SimpleNamespace(pool="campus"))
    return cast(
        "Engine", SimpleNamespace(export=lambda: state, replace_state=lambda _: None, stack=SimpleNamespace(site=site))
    )


def test_a_machine_that_proxmox_has_deleted_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine would delete it again, and a token of the pool gets 403 for a VM that is in no pool any more."""
    state = pending_operations.resolve_pending_operations(pending(Deleting(1, gone=True), monkeypatch))

    assert state.pending_operations == ()
    assert [(one.urn, one.dependencies) for one in state.resources] == [("urn::gpu-2-k3s", ("urn::server-1-k3s",))]


def test_a_machine_that_is_still_there_is_left_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    state = pending_operations.resolve_pending_operations(pending(Deleting(0, gone=False), monkeypatch))

    assert state.pending_operations == ()
    assert [one.urn for one in state.resources] == ["urn::gpu-1-vm", "urn::gpu-1-k3s", "urn::gpu-2-k3s"]


def test_an_empty_list_is_not_believed_of_a_token_without_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every machine would be forgotten, and made a second time."""
    engine = pending(Deleting(0, gone=True, sees_pool=False), monkeypatch)

    with pytest.raises(PveError, match="does not see the pool campus"):
        proxmox.list_vm_ids(engine)


class Creating:
    """A Proxmox that still makes and starts VM 141 while so many questions are asked, then has it."""

    def __init__(self, questions: int) -> None:
        self.questions, self.there = questions, True

    def call(self, method: str, path: str, **_: str) -> object:
        if path == "nodes/pve1/tasks":
            self.questions -= 1
            return [{"type": "qmstart"}] if self.questions >= 0 else []
        assert self.questions < 0, "half made, it has no name; half started, it cannot be deleted"
        if method == "DELETE":
            self.there = False
        if path.endswith("/config"):
            return {"name": "gpu-1", "tags": "lyceum;worker"}
        if path.endswith("/status/current"):
            return {"status": "stopped"}
        return [{"poolid": "campus"}] if path == "pools" else [{"vmid": 141}] if self.there else []


def test_a_machine_that_proxmox_still_makes_is_taken_back_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    pve = Creating(3)
    monkeypatch.setattr(pending_operations, "connect_proxmox", lambda _: pve)
    monkeypatch.setattr(proxmox, "connect_proxmox", lambda _: pve)
    site = SimpleNamespace(proxmox=SimpleNamespace(pool="campus"))
    engine = cast("Engine", SimpleNamespace(stack=SimpleNamespace(site=site)))
    pending_operations._delete_unknown_vm(engine, {"name": "gpu-1", "vmId": 141, "nodeName": "pve1"})

    assert not pve.there
