"""Machines outside the cluster are removed without the cluster's API."""

from types import SimpleNamespace
from typing import Any

import pytest

from config.resource_names import VM_TYPE
from ops import audit_log
from ops.engine.pulumi_state import State
from ops.nodes import remove, vm
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
def test_the_tags_of_a_vm_show_whether_it_is_in_the_cluster(tags: tuple[str, ...], *, member: bool) -> None:
    """It may no longer be in the site's file."""
    assert state(vm_record("ops-1", *tags)).vms["ops-1"].in_cluster is member


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(audit_log, "record_operation", lambda *_: asked.append("journal"))
    monkeypatch.setattr(remove, "connect_to_cluster", lambda _: asked.append("cluster"))
    return asked


def engine(name: str, *tags: str) -> Any:
    return SimpleNamespace(export=lambda: state(vm_record(name, *tags)), stack=SimpleNamespace(name="dev"))


def test_the_maintenance_machine_is_shut_down_without_the_clusters_api(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be removed while the cluster is down."""
    pve = FakePve("ops-1")
    monkeypatch.setattr(remove, "connect_proxmox", lambda _: pve)
    remove_nodes(engine("ops-1", "maintenance"), RemovalRequest(("ops-1",), "remove"))

    assert log == ["journal"]
    assert pve.log == ["shutdown"]


def test_for_a_node_the_cluster_is_queried_first(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove, "connect_proxmox", lambda _: FakePve("gpu-1"))
    remove_nodes(engine("gpu-1", "worker"), RemovalRequest(("gpu-1",), "remove"))

    assert log == ["cluster", "journal"]


def test_a_vm_that_is_gone_from_proxmox_is_not_deleted_by_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P9: somebody deleted it there, and a token of the pool may not query it by its VMID."""
    monkeypatch.setattr(vm, "list_vm_ids", lambda _: {142})
    both = state(
        *(vm_record(name, "worker") | {"urn": f"urn::{name}-vm", "protect": True} for name in ("gpu-1", "gpu-2"))
    )
    both.resources[0].record["inputs"]["vmId"] = 142

    left = prepare_deletion(engine("gpu-1"), both, both.vms.values()).resources

    assert [(one.urn, one.protected) for one in left] == [("urn::gpu-1-vm", False)]
