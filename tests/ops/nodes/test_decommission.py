"""The decommission of a node: its order, and how an interrupted one continues (fault matrix N4, N6, D2)."""

from typing import Any

import httpx
import pytest

from ops.engine.pulumi_state import Vm
from ops.nodes import drain
from ops.nodes.blockers import Override
from ops.nodes.decommission import MEMBER_ANNOTATION, REMOVED_ANNOTATION, Decommission, has_left_etcd
from ops.nodes.drain import DrainTimeoutError
from ops.nodes.osds import is_purged, purge_osd
from ops.nodes.vm import ForeignVmError, find_vm
from tests.ops.fake_kube import FakeKube, FakePve
from tests.ops.objects import answered, budget, node, osd, pod, servers

WORKER = Vm("gpu-1", 141, "pve1", "urn:gpu-1")
SERVER = Vm("server-2", 141, "pve1", "urn:server-2")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


def decommission(kube: FakeKube | None, pve: FakePve, vm: Vm = WORKER, **more: Any) -> Decommission:
    return Decommission(vm, kube, pve, **({"drain_seconds": 60.0} | more))  # type: ignore[arg-type]


def server_cluster() -> FakeKube:
    kube = FakeKube(servers(True, True, True))
    kube.nodes["server-2"]["metadata"]["annotations"][MEMBER_ANNOTATION] = "server-2-abcd"
    kube.secrets.add("server-2.node-password.k3s")
    return kube


def test_a_worker_is_drained_then_purged_and_its_objects_deleted_last() -> None:
    kube = FakeKube([node("gpu-1")], [pod("web", owner="ReplicaSet/web")], osds=[osd(3, "gpu-1"), osd(1, "gpu-2")])
    kube.secrets.add("gpu-1.node-password.k3s")
    pve = FakePve()
    decommission(kube, pve).run()

    assert kube.log == [
        "cordon gpu-1",
        "evict web",
        "scale rook-ceph-osd-3 to 0",
        "create lyceum-purge-osd-3-00000003",
        "delete gpu-1",
        "delete gpu-1.node-password.k3s",
        "delete lyceum-purge-osd-3-00000003",
        "delete rook-ceph-osd-3",
    ]
    assert pve.log == ["shutdown"]


def test_a_server_is_shut_down_before_it_leaves_etcd() -> None:
    """A running K3s that finds itself removed restarts and joins again, or starts a second cluster."""
    kube, pve = server_cluster(), FakePve("server-2")
    statuses: list[str] = []
    patch = kube.patch

    def watch(path: str, change: dict[str, Any]) -> dict[str, Any]:
        if "metadata" in change:
            statuses.append(str(pve.vm and pve.vm["status"]))
        return patch(path, change)

    kube.patch = watch  # type: ignore[method-assign]
    decommission(kube, pve, SERVER).run()

    assert statuses == ["stopped"]
    assert kube.log.index("remove server-2 from etcd") < kube.log.index("delete server-2")


@pytest.mark.parametrize("stop", range(6))
def test_an_interrupted_decommission_continues_where_it_stopped(stop: int) -> None:
    kube, pve = server_cluster(), FakePve("server-2")
    kube.pods = [pod("web", owner="ReplicaSet/web", on="server-2")]
    for one in decommission(kube, pve, SERVER).steps()[:stop]:
        if not one.is_done():
            one.run()
    before = list(kube.log)
    decommission(kube, pve, SERVER).run()

    assert kube.log[: len(before)] == before
    assert len(kube.log) == len(set(kube.log)), "no step is run twice"
    assert "server-2" not in kube.nodes
    assert kube.secrets == set()


def test_a_finished_decommission_changes_nothing() -> None:
    kube, pve = server_cluster(), FakePve("server-2")
    decommission(kube, pve, SERVER).run()
    kube.log.clear()
    pve.log.clear()
    decommission(kube, pve, SERVER).run()

    assert kube.log == []
    assert pve.log == []


def test_without_cluster_and_vm_nothing_is_changed() -> None:
    pve = FakePve()
    pve.vm = None
    decommission(None, pve).run()

    assert pve.log == []


def test_a_moving_api_address_is_waited_for() -> None:
    kube, pve = server_cluster(), FakePve("server-2")
    kube.outage = 3
    decommission(kube, pve, SERVER).run()

    assert "server-2" not in kube.nodes


@pytest.mark.parametrize("pve", [FakePve("printer"), FakePve(tags="worker"), FakePve(tags="not-lyceum")])
def test_a_vmid_of_another_machine_is_left_alone(pve: FakePve) -> None:
    """Proxmox gives a freed VMID to the next machine; deleting by VMID alone hits it (capmox#856)."""
    with pytest.raises(ForeignVmError, match="left alone"):
        find_vm(pve, WORKER)  # type: ignore[arg-type]

    assert pve.log == []


def test_a_blocked_drain_reports_pod_controller_and_budget() -> None:
    kube = FakeKube([node("gpu-1")], [pod("db-0", owner="StatefulSet/db")], budgets=[budget("db-budget", "db-0")])
    with pytest.raises(DrainTimeoutError) as error:
        drain.drain_node(kube, "gpu-1", 0)  # type: ignore[arg-type]

    assert "vision/db-0 (StatefulSet db): budget vision/db-budget allows 0 disruptions (1 healthy, 1 required)" in str(
        error.value
    )


def test_an_override_ignores_a_disruption_budget() -> None:
    kube = FakeKube([node("gpu-1")], [pod("db-0")], budgets=[budget("db", "db-0")])
    decommission(kube, FakePve(), overrides=frozenset({Override.BUDGETS})).run()

    assert "delete db-0" in kube.log


def test_a_pod_that_waits_for_a_finalizer_is_reported() -> None:
    stuck = pod("stuck")
    stuck["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/hold"]}
    with pytest.raises(DrainTimeoutError, match="waiting for finalizer example"):
        drain.drain_node(FakeKube([node("gpu-1")], [stuck]), "gpu-1", 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [answered(500), httpx.ConnectError("the address is moving")], ids=["500", "silent"])
def test_an_unavailable_api_does_not_end_a_drain(answer: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube([node("gpu-1")], [pod("web", owner="ReplicaSet/web")])
    post, answers = kube.post, iter([answer])

    def once(path: str, body: dict[str, Any]) -> httpx.Response:
        for error in answers:
            raise error
        return post(path, body)

    monkeypatch.setattr(kube, "post", once)
    drain.drain_node(kube, "gpu-1", 5, every=0)  # type: ignore[arg-type]

    assert kube.pods == []


def test_terminating_pods_on_an_unready_node_are_not_waited_for() -> None:
    """No kubelet will ever confirm their termination."""
    leaving = pod("leaving")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    kube = FakeKube([node("gpu-1", ready=False)], [leaving])

    drain.drain_node(kube, "gpu-1", 0)  # type: ignore[arg-type]


def test_an_earlier_purge_of_the_same_osd_id_does_not_count() -> None:
    """Ceph gives the ID of a purged OSD to the next disk."""
    kube = FakeKube([node("gpu-1")], osds=[osd(3, "gpu-1")])
    purge_osd(kube, kube.osds[0])  # type: ignore[arg-type]
    kube.osds[0] = osd(3, "gpu-1") | {"metadata": kube.osds[0]["metadata"] | {"uid": "another-uid"}}

    assert not is_purged(kube, kube.osds[0])  # type: ignore[arg-type]


def test_with_the_data_override_osds_are_not_purged() -> None:
    kube = FakeKube([node("gpu-1")], osds=[osd(0, "gpu-1")])
    decommission(kube, FakePve(), overrides=frozenset({Override.DATA})).run()

    assert not any("create" in line for line in kube.log)


@pytest.mark.parametrize(
    ("annotations", "has_left"),
    [
        ({}, True),
        ({MEMBER_ANNOTATION: "s-1"}, False),
        ({MEMBER_ANNOTATION: "s-1", REMOVED_ANNOTATION: "s-1"}, True),
        ({MEMBER_ANNOTATION: "s-2", REMOVED_ANNOTATION: "s-1"}, False),
        ({REMOVED_ANNOTATION: "s-1"}, True),
    ],
)
def test_a_member_has_left_when_k3s_reports_this_member_as_removed(annotations: dict[str, str], has_left: bool) -> None:
    assert has_left_etcd(node("s", server=True, annotations=annotations)) is has_left
