"""Machines outside the cluster leave without asking it."""

from types import SimpleNamespace
from typing import Any

import pytest

from config.resource_names import VM_TYPE
from ops import audit_log
from ops.engine.pulumi_state import State
from ops.nodes import remove as leaving
from ops.nodes import vm
from ops.nodes.remove import RemovalRequest, remove_nodes
from ops.nodes.vm import prepare_deletion
from tests.ops.fake_kube import FakePve


def vm_record(name: str, *tags: str) -> dict[str, Any]:
    inputs = {"name": name, "vmId": 141, "nodeName": "pve1", "tags": sorted({"lyceum", "campus", *tags})}
    return {"type": VM_TYPE, "urn": f"urn:{name}", "inputs": inputs}


def state(*records: dict[str, Any]) -> State:
    return State({"deployment": {"resources": list(records)}})


@pytest.mark.parametrize(
    ("tags", "member"),
    [(("maintenance",), False), (("desktop",), False), (("worker",), True), (("storage",), True), (("server",), True)],
)
def test_a_machines_tags_tell_whether_it_is_in_the_cluster(tags: tuple[str, ...], *, member: bool) -> None:
    """The site's file may not know it any more."""
    assert state(vm_record("ops-1", *tags)).vms["ops-1"].in_cluster is member


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(audit_log, "record_operation", lambda *_: asked.append("journal"))
    monkeypatch.setattr(leaving, "connect_to_cluster", lambda _: asked.append("cluster"))
    return asked


def engine(name: str, *tags: str) -> Any:
    return SimpleNamespace(export=lambda: state(vm_record(name, *tags)), stack=SimpleNamespace(name="dev"))


def test_the_operators_machine_is_switched_off_and_the_cluster_is_not_asked(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must go when the cluster is down, too."""
    pve = FakePve("ops-1")
    monkeypatch.setattr(leaving, "connect_proxmox", lambda _: pve)
    remove_nodes(engine("ops-1", "maintenance"), RemovalRequest(("ops-1",), "remove"))

    assert log == ["journal"]
    assert pve.log == ["shutdown"]


def test_for_a_node_the_cluster_is_asked_first(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "connect_proxmox", lambda _: FakePve("gpu-1"))
    remove_nodes(engine("gpu-1", "worker"), RemovalRequest(("gpu-1",), "remove"))

    assert log == ["cluster", "journal"]


def test_a_machine_that_is_gone_from_proxmox_is_left_out_of_what_the_engine_deletes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P9: somebody deleted it there, and a token of the pool may not ask for it by its number."""
    monkeypatch.setattr(vm, "list_vm_ids", lambda _: {142})
    both = state(
        *(vm_record(name, "worker") | {"urn": f"urn::{name}-vm", "protect": True} for name in ("gpu-1", "gpu-2"))
    )
    both.resources[0].record["inputs"]["vmId"] = 142

    left = prepare_deletion(engine("gpu-1"), both, both.vms.values()).resources

    assert [(one.urn, one.protected) for one in left] == [("urn::gpu-1-vm", False)]
