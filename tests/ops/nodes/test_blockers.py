"""What blocks the removal of a node (fault matrix N3, Q1, Q4, D2, N2)."""

import pytest

from ops.clients.kubernetes import Object
from ops.nodes.blockers import Override, count_gpus, find_blockers, quorum_blockers, server_count_problem, unresolved
from ops.nodes.facts import evictable_pods
from ops.nodes.remove import mark_removal_in_progress, without_nodes
from tests.ops.objects import ceph, local_volume, node, node_facts, osd, pod, pool, servers


def blocker_texts(name: str, **parts: object) -> list[str]:
    return [blocker.text for blocker in find_blockers(node_facts(name, **parts))]


def test_one_of_three_healthy_servers_can_be_removed() -> None:
    assert blocker_texts("server-1", nodes=servers(True, True, True)) == []


def test_a_dead_server_can_be_removed_because_the_others_have_quorum() -> None:
    """Replacing the dead member restores redundancy, so it must never be refused."""
    assert blocker_texts("server-2", nodes=servers(True, False, True)) == []


def test_a_healthy_server_is_not_removed_while_another_is_dead() -> None:
    (text,) = blocker_texts("server-1", nodes=servers(True, False, True))

    assert "2/3 etcd members are healthy, and this is one of them" in text
    assert text.endswith("first repair or replace server-2")


def test_a_ready_server_that_is_not_a_voting_member_counts_as_unhealthy() -> None:
    """The Ready condition does not include etcd (k3s-ansible#562)."""
    nodes = [*servers(True, True), node("server-3", server=True, voter=False)]

    assert "repair or replace server-3" in blocker_texts("server-1", nodes=nodes)[0]


def test_no_server_is_removed_when_quorum_is_lost() -> None:
    assert "needs 2 of its 3 members" in blocker_texts("server-2", nodes=servers(True, False, False))[0]


def test_the_only_server_is_not_removed() -> None:
    assert "the only server" in blocker_texts("server-1", nodes=servers(True))[0]


def test_one_of_two_servers_is_not_removed() -> None:
    """It is shut down before it leaves etcd, and one of two members is no quorum."""
    assert "add a server first" in blocker_texts("server-1", nodes=servers(True, True))[0]


@pytest.mark.parametrize("healthy", [(True,) * 5, (True, False, True, True, True)])
def test_one_of_five_servers_can_be_removed_with_up_to_one_unhealthy(healthy: tuple[bool, ...]) -> None:
    assert blocker_texts("server-2", nodes=servers(*healthy)) == []


def test_no_override_accepts_a_lost_quorum() -> None:
    found = find_blockers(node_facts("server-1", nodes=servers(True, False, True)))

    assert unresolved(found, set(Override)) == found


def test_a_worker_is_not_blocked_by_etcd() -> None:
    assert blocker_texts("gpu-1", nodes=[*servers(True, False, True), node("gpu-1")]) == []


def test_an_osd_can_be_removed_when_enough_nodes_remain_for_every_replica() -> None:
    osds = [osd(n, f"gpu-{n + 1}") for n in range(4)]

    assert blocker_texts("gpu-1", ceph=ceph(), pools=[pool(3)], osds=osds) == []


def test_an_osd_is_not_removed_when_its_replicas_cannot_be_placed_elsewhere() -> None:
    osds = [osd(n, f"gpu-{n + 1}") for n in range(3)]
    (text,) = blocker_texts("gpu-1", ceph=ceph(), pools=[pool(2), pool(3)], osds=osds)

    assert "3 replicas on different nodes, and 2 would remain" in text


def test_an_osd_is_not_removed_while_ceph_recovers() -> None:
    osds = [osd(n, f"gpu-{n + 1}") for n in range(4)]

    assert "Ceph is HEALTH_WARN" in blocker_texts("gpu-1", ceph=ceph("HEALTH_WARN"), pools=[pool(2)], osds=osds)[0]


def osds_with_down(*hosts: str, wanted: int = 1) -> list[Object]:
    """Four OSDs on four nodes; those on the given nodes are not running."""
    found = []
    for number in (1, 2, 3, 4):
        host = f"gpu-{number}"
        found.append(osd(number, host, wanted=wanted, ready=0) if host in hosts else osd(number, host))
    return found


@pytest.mark.parametrize("wanted", [0, 1], ids=["stopped", "evicted"])
@pytest.mark.parametrize(
    ("down", "health", "blocked"),
    [
        ({"gpu-1"}, "HEALTH_WARN", False),
        ({"gpu-2"}, "HEALTH_WARN", False),  # removed together with gpu-1
        ({"gpu-1", "gpu-3"}, "HEALTH_WARN", True),
        (set(), "HEALTH_WARN", True),
        ({"gpu-1"}, "HEALTH_ERR", True),
    ],
)
def test_an_interrupted_removal_is_not_blocked_by_the_warning_that_it_causes(
    down: set[str], health: str, wanted: int, blocked: bool
) -> None:
    """Its evicted or stopped OSDs make Ceph warn; run again, it must continue, and problems elsewhere still block it."""
    facts = node_facts("gpu-1", ceph=ceph(health), pools=[pool(2)], osds=osds_with_down(*down, wanted=wanted))

    assert bool(find_blockers(mark_removal_in_progress(facts, {"gpu-1", "gpu-2"}))) is blocked


@pytest.mark.parametrize(("leaving", "blocked"), [("gpu-1", False), ("gpu-2", True)])
def test_the_osds_of_a_node_that_is_not_ready_count_as_down_before_the_api_reports_it(
    leaving: str, blocked: bool
) -> None:
    """The API marks one pod after the other, so a monitor may be down while the OSD beside it still seems to run."""
    nodes = [node("gpu-1", ready=False), node("gpu-2"), node("gpu-3")]
    warning = ceph("HEALTH_WARN", "MON_DOWN")
    facts = node_facts(leaving, nodes=nodes, ceph=warning, pools=[pool(2)], osds=osds_with_down())

    assert bool(find_blockers(mark_removal_in_progress(facts, {leaving}))) is blocked


@pytest.mark.parametrize(
    ("checks", "drained", "blocked"),
    [
        (("MON_DOWN", "MGR_DOWN"), True, False),
        (("MON_DOWN",), False, True),
        (("MON_DOWN", "PG_DEGRADED"), True, True),
    ],
)
def test_a_monitor_that_the_drain_moves_does_not_block_the_removal(
    checks: tuple[str, ...], drained: bool, blocked: bool
) -> None:
    """Rook waits ten minutes before it starts one elsewhere; a monitor holds no replicas."""
    leaving = node("gpu-1")
    leaving["spec"]["unschedulable"] = drained
    facts = node_facts(
        "gpu-1", nodes=[leaving], ceph=ceph("HEALTH_WARN", *checks), pools=[pool(2)], osds=osds_with_down()
    )

    assert bool(find_blockers(mark_removal_in_progress(facts, {"gpu-1"}))) is blocked


def test_a_second_osd_is_checked_as_if_the_first_were_removed() -> None:
    """Each of the two would pass alone, and both together lose data."""
    osds = [osd(n, f"gpu-{n + 1}") for n in range(3)]
    facts = node_facts("gpu-2", ceph=ceph(), pools=[pool(2)], osds=osds)

    assert find_blockers(facts) == []
    assert "1 would remain" in find_blockers(without_nodes(facts, {"gpu-1"}))[0].text


def test_file_systems_count_like_pools() -> None:
    shared = {"spec": {"metadataPool": {"replicated": {"size": 3}}, "dataPools": [{"replicated": {"size": 2}}]}}
    osds = [osd(n, f"gpu-{n + 1}") for n in range(3)]

    assert "3 replicas" in blocker_texts("gpu-1", ceph=ceph(), pools=[shared], osds=osds)[0]


def test_local_volumes_are_listed_by_their_claims() -> None:
    volumes = [local_volume("vision/data", "gpu-1"), local_volume("vision/other", "gpu-2"), local_volume("vision/any")]
    (text,) = blocker_texts("gpu-1", volumes=volumes)

    assert "vision/data" in text
    assert "other" not in text
    assert "any" not in text


def test_a_volume_that_two_nodes_can_use_is_not_lost_with_one() -> None:
    assert blocker_texts("gpu-1", volumes=[local_volume("vision/data", "gpu-1", "gpu-2")]) == []


def test_jobs_and_notebooks_block_and_are_listed_with_their_owner() -> None:
    pods = [
        pod("train-1", owner="Job/train", gpus=2),
        pod("jupyter-ada", user="ada", gpus=1),
        pod("web-1", owner="ReplicaSet/web"),
    ]
    (text,) = blocker_texts("gpu-1", pods=pods)

    assert "vision/jupyter-ada (of ada, 1 GPU)" in text
    assert "vision/train-1 (2 GPU)" in text
    assert "web-1" not in text, "a Deployment's pod is recreated elsewhere"


def test_an_override_accepts_only_its_own_blocker() -> None:
    found = find_blockers(
        node_facts("gpu-1", pods=[pod("train", owner="Job/t")], volumes=[local_volume("a/b", "gpu-1")])
    )
    remaining = unresolved(found, {Override.JOBS})

    assert [blocker.override for blocker in remaining] == [Override.DATA]


def test_static_daemonset_and_finished_pods_are_not_evicted() -> None:
    static = pod("static")
    static["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
    pods = [static, pod("log", owner="DaemonSet/log"), pod("done", owner="Job/done", phase="Succeeded"), pod("web")]

    assert [item["metadata"]["name"] for item in evictable_pods(pods)] == ["web"]


def test_mig_slices_count_as_gpus() -> None:
    sliced = pod("sliced")
    sliced["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-1g.5gb": "2", "cpu": "4"}

    assert count_gpus(sliced) == 2


@pytest.mark.parametrize(("count", "good"), [(1, True), (2, False), (3, True), (4, False), (5, True), (0, True)])
def test_an_even_number_of_servers_is_a_problem(count: int, good: bool) -> None:
    assert (server_count_problem(count) == "") is good


def test_five_servers_become_three_one_at_a_time() -> None:
    """Each is shut down before it leaves etcd: four of five remain, then three of four."""
    five = servers(True, True, True, True, True)
    first = node_facts("server-5", nodes=five)
    second = node_facts("server-4", nodes=five[:4])

    assert list(quorum_blockers(first)) == list(quorum_blockers(second)) == []
