"""Turns of nodes: in which order, what stops one, and what a second run does after an interruption (fault matrix U1)."""

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
    find_blockers,
    order_nodes,
    osds_ok_to_stop,
    unready_reason,
    upgrade_mark,
)
from ops.upgrade.os_packages import PACKAGES_SH
from ops.upgrade.plan import ClusterNode, Version
from tests.ops.fake_kube import FakeKube
from tests.ops.objects import budget, ceph, node, node_facts, osd, pod, servers

RELEASED = Version.parse("v1.36.4+k3s1")
STEPS = ("fetch_packages", "snapshot_before_change", "upgrade_packages", "reboot_due", "booted_anew")


class Machine:
    """A machine that notes which functions of the scripts it was told to run."""

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


def turn(kube: FakeKube, machine: Machine, name: str = "gpu-1", **changes: Any) -> NodeUpgrade:
    settings = {"drain_seconds": 0.0, "settle_seconds": 0.0} | changes
    return NodeUpgrade(name, name.startswith("server"), cast("Kube", kube), machine, **settings)


def cluster(*pods: Any, **lists: Any) -> FakeKube:
    return FakeKube([*servers(True, True, True), node("gpu-1"), node("gpu-2")], list(pods), **lists)


def worker(number: int, *, gpus: int = 0, well: bool = True) -> ClusterNode:
    return ClusterNode(f"gpu-{number}", RELEASED, server=False, healthy=well, gpus=gpus, workloads=bool(gpus))


def server(number: int, *, well: bool = True) -> ClusterNode:
    return ClusterNode(f"server-{number}", RELEASED, server=True, healthy=well)


def test_a_turn_ends_with_the_node_in_service_and_without_a_mark() -> None:
    kube, machine = cluster(pod("web", owner="ReplicaSet/web")), Machine()
    turn(kube, machine, drain_seconds=5.0).run()

    assert machine.log == ["fetch_packages", "booted_anew", "upgrade_packages", "reboot_due", "booted_anew"]
    assert kube.log[0] == "cordon gpu-1"
    assert "evict web" in kube.log
    assert kube.log[-1] == "uncordon gpu-1"
    assert OS_UPGRADE_ANNOTATION not in kube.nodes["gpu-1"]["metadata"]["annotations"]


def test_a_server_leaves_a_snapshot_before_its_packages_change() -> None:
    machine = Machine()
    turn(cluster(), machine, "server-2").run()

    assert machine.log.index("snapshot_before_change") < machine.log.index("upgrade_packages")


def test_packages_that_cannot_be_fetched_take_no_node_out_of_service() -> None:
    kube = cluster()
    with pytest.raises(NodeSkippedError, match="the mirror is down; nothing was changed on it"):
        turn(kube, Machine(fetch_packages="the mirror is down")).run()

    assert kube.log == []


def test_somebodys_job_leaves_the_node_as_it_was() -> None:
    kube, machine = cluster(pod("train", owner="Job/train", gpus=1)), Machine()
    with pytest.raises(NodeSkippedError, match=r"work runs on it: vision/train .* --force jobs"):
        turn(kube, machine).run()

    assert kube.log == ["cordon gpu-1", "uncordon gpu-1"], "the look comes after the cordon: no job slips in between"
    assert "upgrade_packages" not in machine.log


@pytest.mark.parametrize("cordoned", [False, True])
def test_a_run_that_was_killed_before_it_had_looked_leaves_somebodys_job_to_the_next_look(*, cordoned: bool) -> None:
    kube = cluster(pod("train", owner="Job/train", gpus=1))
    kube.nodes["gpu-1"]["spec"]["unschedulable"] = cordoned

    class Killed(NodeUpgrade):
        def _find_blocker(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Killed("gpu-1", server=False, kube=cast("Kube", kube), remote=Machine()).run()
    assert upgrade_mark(kube.nodes["gpu-1"]), "positive control: its turn had begun"
    with pytest.raises(NodeSkippedError, match="work runs on it: vision/train"):
        turn(kube, Machine()).run()

    assert "evict train" not in kube.log
    assert kube.nodes["gpu-1"]["spec"]["unschedulable"] is (True if cordoned else None)


def test_with_the_word_a_job_is_ended() -> None:
    kube = cluster(pod("train", owner="Job/train", gpus=1))
    turn(kube, Machine(), overrides=frozenset({Override.JOBS}), drain_seconds=5.0).run()

    assert "evict train" in kube.log


def test_a_budget_that_holds_up_the_drain_leaves_the_node_in_service() -> None:
    kube = cluster(pod("web", owner="ReplicaSet/web"), budgets=[budget("web", "web")])
    with pytest.raises(NodeSkippedError, match="budget vision/web allows 0 disruptions"):
        turn(kube, Machine()).run()

    assert kube.log[-1] == "uncordon gpu-1"


def test_packages_that_fail_keep_the_node_from_work_and_marked() -> None:
    kube = cluster()
    with pytest.raises(NodeStuckError, match="bind9 failed\ngpu-1 takes no work"):
        turn(kube, Machine(upgrade_packages="bind9 failed")).run()

    assert kube.nodes["gpu-1"]["spec"]["unschedulable"]
    assert kube.nodes["gpu-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] == UNCORDON


def test_the_next_run_goes_on_with_a_marked_node_and_gives_it_back() -> None:
    kube, machine = cluster(), Machine()
    kube.nodes["gpu-1"]["spec"]["unschedulable"] = True
    kube.nodes["gpu-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] = UNCORDON
    turn(kube, machine).run()

    assert machine.log[:2] == ["booted_anew", "upgrade_packages"], "it is drained, and what was fetched is there"
    assert not kube.nodes["gpu-1"]["spec"]["unschedulable"]


def test_a_machine_on_its_way_down_is_waited_for_before_its_packages_go_on() -> None:
    """The run before told it to reboot and was killed; it answers for a moment longer."""
    kube = cluster()
    kube.nodes["gpu-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] = UNCORDON

    class GoingDown(Machine):
        def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
            self.failing = {"booted_anew": "has not gone down yet"} if len(self.log) < 2 else {}
            return super().run(script, seconds=seconds, say=say)

    machine = GoingDown()
    turn(kube, machine, settle_seconds=30.0).run()

    assert machine.log[:4] == ["booted_anew", "booted_anew", "booted_anew", "upgrade_packages"]


def test_a_node_that_somebody_had_cordoned_stays_so() -> None:
    kube = cluster()
    kube.nodes["gpu-1"]["spec"]["unschedulable"] = True
    turn(kube, Machine()).run()

    assert kube.nodes["gpu-1"]["spec"]["unschedulable"]
    assert OS_UPGRADE_ANNOTATION not in kube.nodes["gpu-1"]["metadata"]["annotations"]


@pytest.mark.parametrize("mark", [UNCORDON, KEEP_CORDON])
def test_no_server_goes_down_while_another_is_sick(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """Neither at the beginning of its turn, nor when a run that was killed goes on."""
    monkeypatch.setattr(node_upgrade, "VOTE_SECONDS", 0.0)
    kube = FakeKube(servers(True, False, True))
    with pytest.raises(
        NodeSkippedError, match=r"the other servers to vote before server-1 goes down: server-2 is not well"
    ):
        turn(kube, Machine(), "server-1").run()
    kube.nodes["server-1"]["metadata"]["annotations"][OS_UPGRADE_ANNOTATION] = mark
    machine = Machine()
    with pytest.raises(
        NodeStuckError, match=r"the other servers to vote before server-1 goes down: server-2 is not well"
    ):
        turn(kube, machine, "server-1").run()

    assert "reboot_due" not in machine.log


@pytest.mark.parametrize(("health", "rests"), [("HEALTH_OK", True), ("HEALTH_WARN", False)])
def test_osds_go_down_only_while_ceph_is_well(health: str, rests: bool) -> None:
    assert osds_ok_to_stop(node_facts("gpu-1", osds=[osd(0, "gpu-1")], ceph=ceph(health))) is rests
    assert osds_ok_to_stop(node_facts("gpu-1", osds=[osd(0, "gpu-2")], ceph=ceph(health))), "it holds no OSD"


def test_an_osd_that_is_down_counts_before_rook_has_looked() -> None:
    """It looks once a minute; the next node could go down on a word from before the last one did."""
    down = [osd(0, "gpu-1"), osd(1, "gpu-2", ready=0)]
    assert not osds_ok_to_stop(node_facts("gpu-1", osds=down, ceph=ceph("HEALTH_OK")))


def test_a_node_is_well_only_when_its_kubelet_has_spoken_after_the_reboot() -> None:
    """Its Ready is from before for as long as the API takes to notice a silence: fifty seconds."""
    kube = cluster()
    kube.silent = {"gpu-1"}
    with pytest.raises(NodeStuckError, match="its kubelet has not reported since"):
        turn(kube, Machine()).run()

    assert kube.log[-1] == "cordon gpu-1", "it takes no work yet"


def test_what_was_begun_comes_first_then_servers_then_the_idle() -> None:
    found = [server(1), server(2), worker(1, gpus=2), worker(2), worker(3, well=False), worker(4, well=False)]
    servers_, agents = order_nodes(found, {one.name for one in found}, marked={"server-2", "gpu-4"})

    assert [one.name for one in servers_] == ["server-2", "server-1"]
    assert [one.name for one in agents] == ["gpu-4", "gpu-2", "gpu-1"], "a silent node that nobody began is left"


def test_nothing_begins_with_a_dead_server_unless_it_is_the_one_in_its_turn() -> None:
    found = [server(1), server(2, well=False), server(3)]

    assert list(find_blockers(found, marked={"server-2"})) == []
    (reason,) = find_blockers(found, marked=set())
    assert "2/3 etcd members are healthy (server-2 not)" in reason


def test_a_node_takes_work_again_when_its_gpus_are_back() -> None:
    one = node("gpu-1")
    assert "GPUs are not back (nvidia.com/gpu)" in unready_reason(one, {"nvidia.com/gpu": 2})
    one["status"]["allocatable"] = {"nvidia.com/gpu": "2"}

    assert unready_reason(one, {"nvidia.com/gpu": 2}) == ""
    assert unready_reason(node("gpu-1", ready=False), {}) == "it is not Ready"
    assert unready_reason(node("server-1", server=True, voter=False), {}) == "it is no voter of etcd"


def test_what_a_machine_says_is_shown_word_for_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are the console's own language, and dpkg and K3s know nothing of that."""

    class Talking(Machine):
        def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
            if say:
                say("flags are [/etc/rancher] [y/N]")
            return super().run(script, seconds=seconds, say=say)

    turn(cluster(), Talking()).run()

    assert "flags are [/etc/rancher] [y/N]" in capsys.readouterr().out


def test_once_a_node_is_stuck_no_other_begins() -> None:
    kube = cluster()
    done = UpgradeRun(is_paused=lambda: False)
    done.run([turn(kube, Machine(upgrade_packages="broken")), turn(kube, Machine(), "gpu-2")], 1)

    assert [text.partition("\n")[0] for text in done.stuck] == ["broken"]
    assert done.not_started == ["gpu-2"]


def test_a_pause_lets_the_present_node_end() -> None:
    pause = threading.Event()
    kube, done = cluster(), UpgradeRun(is_paused=pause.is_set)

    class Pausing(Machine):
        def run(self, script: str, **settings: Any) -> str:
            pause.set()
            return super().run(script, **settings)

    done.run([turn(kube, Pausing()), turn(kube, Machine(), "gpu-2")], 1)

    assert (done.stuck, done.not_started) == ([], ["gpu-2"])
    assert not kube.nodes["gpu-1"]["spec"]["unschedulable"]


def test_nodes_with_osds_take_their_turns_one_after_the_other() -> None:
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

    UpgradeRun(is_paused=lambda: False).run([turn(kube, Counting()), turn(kube, Counting(), "gpu-2")], 2)

    assert most == 1
