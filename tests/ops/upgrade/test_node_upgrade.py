"""Upgrades of nodes' packages: their order, what blocks them, and how an interrupted one continues (fault matrix U1)."""

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from ops.clients.kubernetes import Kube
from ops.clients.ssh import RemoteError
from ops.nodes.blockers import Override
from ops.nodes.drain import OS_UPGRADE_ANNOTATION
from ops.upgrade import node_upgrade
from ops.upgrade.node_upgrade import (
    KEEP_CORDON,
    UNCORDON,
    NodeSkippedError,
    NodeStuckError,
    NodeUpgrade,
    UpgradeRun,
    order_nodes,
    osds_ok_to_stop,
    unready_reason,
    upgrade_mark,
)
from ops.upgrade.os_packages import PACKAGES_SH
from ops.upgrade.plan import ClusterNode, Version, find_unhealthy_servers
from tests.ops.fake_kube import FakeKube
from tests.ops.objects import budget, ceph, node, node_facts, osd, pod, servers

VERSION = Version.parse("v1.36.4+k3s1")
STEPS = ("fetch_packages", "snapshot_before_change", "upgrade_packages", "request_reboot", "check_booted")


class Machine:
    """A machine that records which functions of the scripts it was asked to run."""

    def __init__(self, **failing: str) -> None:
        self.log: list[str] = []
        self.failing = failing

    def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
        calls = script.partition(PACKAGES_SH)[2]
        for step in STEPS:
            if f"\n{step}" in f"\n{calls}":
                self.log.append(step)
                if step in self.failing:
                    raise RemoteError(self.failing[step])
        return ""


def upgrade(kube: FakeKube, machine: Machine, name: str = "gpu-1", **changes: Any) -> NodeUpgrade:
    settings = {"drain_seconds": 0.0, "ready_seconds": 0.0} | changes
    return NodeUpgrade(name, name.startswith("server"), cast("Kube", kube), machine, **settings)


def cluster(*pods: Any, **lists: Any) -> FakeKube:
    return FakeKube([*servers(True, True, True), node("gpu-1"), node("gpu-2")], list(pods), **lists)


def worker(number: int, *, gpus: int = 0, healthy: bool = True) -> ClusterNode:
    return ClusterNode(f"gpu-{number}", VERSION, server=False, healthy=healthy, gpus=gpus, workloads=bool(gpus))


def server(number: int, *, healthy: bool = True) -> ClusterNode:
    return ClusterNode(f"server-{number}", VERSION, server=True, healthy=healthy)


def test_an_upgraded_node_is_in_service_and_has_no_annotation() -> None:
    kube, machine = cluster(pod("web", owner="ReplicaSet/web")), Machine()
    upgrade(kube, machine, drain_seconds=5.0).run()

    assert machine.log == ["fetch_packages", "check_booted", "upgrade_packages", "request_reboot", "check_booted"]
    assert kube.log[0] == "cordon gpu-1"
    assert "evict web" in kube.log
    assert kube.log[-1] == "uncordon gpu-1"
    assert OS_UPGRADE_ANNOTATION not in kube.nodes["gpu-1"]["metadata"]["annotations"]


def test_a_server_takes_a_snapshot_before_its_packages_change() -> None:
    machine = Machine()
    upgrade(cluster(), machine, "server-2").run()

    assert machine.log.index("snapshot_before_change") < machine.log.index("upgrade_packages")


def test_a_failed_download_takes_no_node_out_of_service() -> None:
    kube = cluster()
    with pytest.raises(NodeSkippedError, match="the mirror is down; nothing was changed on it"):
        upgrade(kube, Machine(fetch_packages="the mirror is down")).run()

    assert kube.log == []


def test_a_node_with_a_running_job_is_skipped() -> None:
    kube, machine = cluster(pod("train", owner="Job/train", gpus=1)), Machine()
    with pytest.raises(NodeSkippedError, match=r"work runs on it: vision/train .* --force jobs"):
        upgrade(kube, machine).run()

    assert kube.log == ["cordon gpu-1", "uncordon gpu-1"], "it is checked after the cordon: no job can start in between"
    assert "upgrade_packages" not in machine.log


@pytest.mark.parametrize("cordoned", [False, True])
def test_a_run_killed_before_its_check_leaves_the_job_to_the_next_check(*, cordoned: bool) -> None:
    kube = cluster(pod("train", owner="Job/train", gpus=1))
    kube.nodes["gpu-1"]["spec"]["unschedulable"] = cordoned

    class Killed(NodeUpgrade):
        def _find_blocker(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Killed("gpu-1", server=False, kube=cast("Kube", kube), remote=Machine()).run()
    assert upgrade_mark(kube.nodes["gpu-1"]), "positive control: its upgrade had started"
    with pytest.raises(NodeSkippedError, match="work runs on it: vision/train"):
        upgrade(kube, Machine()).run()

    assert "evict train" not in kube.log
    assert kube.nodes["gpu-1"]["spec"]["unschedulable"] is (True if cordoned else None)


def test_the_override_ends_a_job() -> None:
    kube = cluster(pod("train", owner="Job/train", gpus=1))
    upgrade(kube, Machine(), overrides=frozenset({Override.JOBS}), drain_seconds=5.0).run()

    assert "evict train" in kube.log


def test_a_disruption_budget_that_blocks_the_drain_leaves_the_node_in_service() -> None:
    kube = cluster(pod("web", owner="ReplicaSet/web"), budgets=[budget("web", "web")])
    with pytest.raises(NodeSkippedError, match="budget vision/web allows 0 disruptions"):
        upgrade(kube, Machine()).run()

    assert kube.log[-1] == "uncordon gpu-1"


def test_a_failed_installation_keeps_the_node_cordoned_and_annotated() -> None:
    kube = cluster()
    with pytest.raises(NodeStuckError, match="bind9 failed\ngpu-1 stays cordoned"):
        upgrade(kube, Machine(upgrade_packages="bind9 failed")).run()

    assert kube.nodes["gpu-1"]["spec"]["unschedulable"]
    assert kube.nodes["gpu-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] == UNCORDON


def test_the_next_run_continues_with_an_annotated_node_and_uncordons_it() -> None:
    kube, machine = cluster(), Machine()
    kube.nodes["gpu-1"]["spec"]["unschedulable"] = True
    kube.nodes["gpu-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] = UNCORDON
    upgrade(kube, machine).run()

    assert machine.log[:2] == ["check_booted", "upgrade_packages"], "it is drained, and the packages are downloaded"
    assert not kube.nodes["gpu-1"]["spec"]["unschedulable"]


def test_a_machine_that_is_shutting_down_is_waited_for_before_packages_are_installed() -> None:
    """The previous run requested the reboot and was killed; the machine still answers for a moment."""
    kube = cluster()
    kube.nodes["gpu-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] = UNCORDON

    class GoingDown(Machine):
        def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
            self.failing = {"check_booted": "has not rebooted yet"} if len(self.log) < 2 else {}
            return super().run(script, seconds=seconds, say=say)

    machine = GoingDown()
    upgrade(kube, machine, ready_seconds=30.0).run()

    assert machine.log[:4] == ["check_booted", "check_booted", "check_booted", "upgrade_packages"]


def test_a_node_that_was_cordoned_before_stays_cordoned() -> None:
    kube = cluster()
    kube.nodes["gpu-1"]["spec"]["unschedulable"] = True
    upgrade(kube, Machine()).run()

    assert kube.nodes["gpu-1"]["spec"]["unschedulable"]
    assert OS_UPGRADE_ANNOTATION not in kube.nodes["gpu-1"]["metadata"]["annotations"]


@pytest.mark.parametrize("mark", [UNCORDON, KEEP_CORDON])
def test_no_server_goes_down_while_another_is_unhealthy(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """Neither at the start of its upgrade, nor when an interrupted one continues."""
    monkeypatch.setattr(node_upgrade, "VOTE_SECONDS", 0.0)
    kube = FakeKube(servers(True, False, True))
    with pytest.raises(
        NodeSkippedError, match=r"the other servers to be healthy before server-1 goes down: server-2 is not healthy"
    ):
        upgrade(kube, Machine(), "server-1").run()
    kube.nodes["server-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] = mark
    machine = Machine()
    with pytest.raises(
        NodeStuckError, match=r"the other servers to be healthy before server-1 goes down: server-2 is not healthy"
    ):
        upgrade(kube, machine, "server-1").run()

    assert "request_reboot" not in machine.log


@pytest.mark.parametrize(("health", "ok"), [("HEALTH_OK", True), ("HEALTH_WARN", False)])
def test_osds_stop_only_while_ceph_is_healthy(health: str, ok: bool) -> None:
    assert osds_ok_to_stop(node_facts("gpu-1", osds=[osd(0, "gpu-1")], ceph=ceph(health))) is ok
    assert osds_ok_to_stop(node_facts("gpu-1", osds=[osd(0, "gpu-2")], ceph=ceph(health))), "it holds no OSD"


def test_an_osd_that_is_down_counts_before_rook_updates_the_status() -> None:
    """It does so once a minute; the next node could stop because of a status from before the last reboot."""
    down = [osd(0, "gpu-1"), osd(1, "gpu-2", ready=0)]
    assert not osds_ok_to_stop(node_facts("gpu-1", osds=down, ceph=ceph("HEALTH_OK")))


def test_a_node_is_ready_only_after_its_kubelet_has_reported_since_the_reboot() -> None:
    """Its Ready condition stays from before until the API marks it as unknown, after fifty seconds."""
    kube = cluster()
    kube.silent = {"gpu-1"}
    with pytest.raises(NodeStuckError, match="its kubelet has not reported since the reboot"):
        upgrade(kube, Machine()).run()

    assert kube.log[-1] == "cordon gpu-1", "it is not uncordoned yet"


def test_started_nodes_come_first_then_servers_then_idle_agents() -> None:
    found = [server(1), server(2), worker(1, gpus=2), worker(2), worker(3, healthy=False), worker(4, healthy=False)]
    servers_, agents = order_nodes(found, {one.name for one in found}, marked={"server-2", "gpu-4"})

    assert [one.name for one in servers_] == ["server-2", "server-1"]
    assert [one.name for one in agents] == ["gpu-4", "gpu-2", "gpu-1"], (
        "an unready node that was not started is skipped"
    )


def test_an_unhealthy_server_blocks_unless_its_own_upgrade_is_unfinished() -> None:
    found = [server(1), server(2, healthy=False), server(3)]

    assert list(find_unhealthy_servers(found, "reboot", {"server-2"})) == []
    (reason,) = find_unhealthy_servers(found, "reboot")
    assert "2/3 etcd members are healthy (server-2 not)" in reason


def test_a_node_is_ready_when_its_gpus_are_back() -> None:
    one = node("gpu-1")
    assert "GPUs are missing (nvidia.com/gpu)" in unready_reason(one, {"nvidia.com/gpu": 2})
    one["status"]["allocatable"] = {"nvidia.com/gpu": "2"}

    assert unready_reason(one, {"nvidia.com/gpu": 2}) == ""
    assert unready_reason(node("gpu-1", ready=False), {}) == "it is not Ready"
    assert unready_reason(node("server-1", server=True, voter=False), {}) == "it is not a voting member of etcd"


def test_output_of_a_machine_is_printed_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are markup for the console, but not in the output of dpkg and K3s."""

    class Talking(Machine):
        def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
            if say:
                say("flags are [/etc/rancher] [y/N]")
            return super().run(script, seconds=seconds, say=say)

    upgrade(cluster(), Talking()).run()

    assert "flags are [/etc/rancher] [y/N]" in capsys.readouterr().out


def test_after_a_node_is_stuck_no_other_starts() -> None:
    kube = cluster()
    upgrade_run = UpgradeRun(is_paused=lambda: False)
    upgrade_run.run([upgrade(kube, Machine(upgrade_packages="broken")), upgrade(kube, Machine(), "gpu-2")], 1)

    assert [text.partition("\n")[0] for text in upgrade_run.stuck] == ["broken"]
    assert upgrade_run.not_started == ["gpu-2"]


def test_a_pause_lets_the_current_node_finish() -> None:
    pause = threading.Event()
    kube, upgrade_run = cluster(), UpgradeRun(is_paused=pause.is_set)

    class Pausing(Machine):
        def run(self, script: str, **settings: Any) -> str:
            pause.set()
            return super().run(script, **settings)

    upgrade_run.run([upgrade(kube, Pausing()), upgrade(kube, Machine(), "gpu-2")], 1)

    assert (upgrade_run.stuck, upgrade_run.not_started) == ([], ["gpu-2"])
    assert not kube.nodes["gpu-1"]["spec"]["unschedulable"]


def test_nodes_with_osds_are_upgraded_one_at_a_time() -> None:
    kube = cluster(osds=[osd(0, "gpu-1"), osd(1, "gpu-2")])
    busy, most = 0, 0

    class Counting(Machine):
        def run(self, script: str, **settings: Any) -> str:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            threading.Event().wait(0.02)
            busy -= 1
            return super().run(script, **settings)

    UpgradeRun(is_paused=lambda: False).run([upgrade(kube, Counting()), upgrade(kube, Counting(), "gpu-2")], 2)

    assert most == 1
