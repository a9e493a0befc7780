"""Machines outside the cluster leave without asking it."""

from types import SimpleNamespace
from typing import Any

import pytest

from ops import audit_log
from ops.engine.pending_operations import VM
from ops.nodes import remove as leaving
from ops.nodes import vm
from ops.nodes.remove import RemovalRequest, remove_nodes
from ops.nodes.vm import machines, prepare_deletion
from tests.ops.fake_kube import FakePve


def state(name: str, *tags: str) -> dict[str, Any]:
    inputs = {"name": name, "vmId": 141, "nodeName": "pve1", "tags": sorted({"lyceum", "campus", *tags})}
    return {"deployment": {"resources": [{"type": VM, "urn": f"urn:{name}", "inputs": inputs}]}}


@pytest.mark.parametrize(
    ("tags", "member"),
    [(("maintenance",), False), (("desktop",), False), (("worker",), True), (("storage",), True), (("server",), True)],
)
def test_a_machines_tags_tell_whether_it_is_in_the_cluster(tags: tuple[str, ...], *, member: bool) -> None:
    """The site's file may not know it any more."""
    assert machines(state("ops-1", *tags))["ops-1"].in_cluster is member


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    monkeypatch.setattr(audit_log, "record_operation", lambda *_: asked.append("journal"))
    monkeypatch.setattr(leaving, "connect_to_cluster", lambda _: asked.append("cluster"))
    return asked


def engine(name: str, *tags: str) -> Any:
    return SimpleNamespace(export=lambda: state(name, *tags), stack=SimpleNamespace(name="dev"))


def test_the_operators_machine_is_switched_off_and_the_cluster_is_not_asked(
    log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must go when the cluster is down, too."""
    pve = FakePve("ops-1")
    monkeypatch.setattr(leaving, "proxmox", lambda _: pve)
    remove_nodes(engine("ops-1", "maintenance"), RemovalRequest(("ops-1",), "remove"))

    assert log == ["journal"]
    assert pve.log == ["shutdown"]


def test_for_a_node_the_cluster_is_asked_first(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "proxmox", lambda _: FakePve("gpu-1"))
    remove_nodes(engine("gpu-1", "worker"), RemovalRequest(("gpu-1",), "remove"))

    assert log == ["cluster", "journal"]


def test_a_machine_that_is_gone_from_proxmox_is_left_out_of_what_the_engine_deletes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P9: somebody deleted it there, and a token of the pool may not ask for it by its number."""
    monkeypatch.setattr(vm, "vm_ids", lambda _: {142})
    here, gone = state("gpu-1", "worker"), state("gpu-2", "worker")
    both = {"deployment": {"resources": [*here["deployment"]["resources"], *gone["deployment"]["resources"]]}}
    for resource, name, vm_id in zip(both["deployment"]["resources"], ("gpu-1", "gpu-2"), (142, 143), strict=True):
        resource |= {"urn": f"urn::{name}-vm", "protect": True}
        resource["inputs"]["vmId"] = vm_id

    left = prepare_deletion(engine("gpu-1"), both, machines(both).values())["deployment"]["resources"]

    assert [(one["urn"], one["protect"]) for one in left] == [("urn::gpu-1-vm", False)]
