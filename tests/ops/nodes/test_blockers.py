"""What speaks against taking a node away (fault matrix N3, Q1, Q4, D2, N2)."""

import pytest

from ops.clients.kubernetes import Object
from ops.nodes.blockers import Override, count_gpus, find_blockers, quorum_blockers, server_count_problem, unresolved
from ops.nodes.facts import evictable_pods
from ops.nodes.remove import mark_removal_in_progress, without_nodes
from tests.ops.objects import ceph, local_volume, node, osd, picture, pod, pool, servers


def texts(name: str, **parts: object) -> list[str]:
    return [objection.text for objection in find_blockers(picture(name, **parts))]


def test_one_of_three_healthy_servers_may_go() -> None:
    assert texts("server-1", nodes=servers(True, True, True)) == []


def test_a_dead_server_may_go_because_the_others_are_the_majority() -> None:
    """Replacing what is lost is how quorum is mended, so it must never be refused."""
    assert texts("server-2", nodes=servers(True, False, True)) == []


def test_a_healthy_server_stays_while_another_is_dead() -> None:
    (text,) = texts("server-1", nodes=servers(True, False, True))

    assert "2/3 etcd members are healthy, and this is one of them" in text
    assert text.endswith("first mend or replace server-2")


def test_a_server_that_is_ready_but_no_voter_counts_as_dead() -> None:
    """Ready says nothing about etcd (k3s-ansible#562)."""
    nodes = [*servers(True, True), node("server-3", server=True, voter=False)]

    assert "mend or replace server-3" in texts("server-1", nodes=nodes)[0]


def test_nothing_goes_when_the_majority_is_lost() -> None:
    assert "needs 2 of its 3 members" in texts("server-2", nodes=servers(True, False, False))[0]


def test_the_only_server_stays() -> None:
    assert "the only server" in texts("server-1", nodes=servers(True))[0]


def test_one_of_two_servers_stays() -> None:
    """It is switched off before its vote goes, and one of two is no majority."""
    assert "add a server first" in texts("server-1", nodes=servers(True, True))[0]


@pytest.mark.parametrize("healthy", [(True,) * 5, (True, False, True, True, True)])
def test_of_five_servers_the_second_of_them_may_go(healthy: tuple[bool, ...]) -> None:
    assert texts("server-2", nodes=servers(*healthy)) == []


def test_no_word_overrules_a_lost_quorum() -> None:
    found = find_blockers(picture("server-1", nodes=servers(True, False, True)))

    assert unresolved(found, set(Override)) == found


def test_a_worker_needs_no_quorum() -> None:
    assert texts("gpu-1", nodes=[*servers(True, False, True), node("gpu-1")]) == []


def test_an_osd_goes_when_enough_hosts_remain_for_every_copy() -> None:
    osds = [osd(n, f"gpu-{n + 1}") for n in range(4)]

    assert texts("gpu-1", ceph=ceph(), pools=[pool(3)], osds=osds) == []


def test_an_osd_stays_when_its_copies_have_nowhere_to_go() -> None:
    osds = [osd(n, f"gpu-{n + 1}") for n in range(3)]
    (text,) = texts("gpu-1", ceph=ceph(), pools=[pool(2), pool(3)], osds=osds)

    assert "3 copies on different hosts, and 2 would remain" in text


def test_an_osd_stays_while_ceph_repairs() -> None:
    osds = [osd(n, f"gpu-{n + 1}") for n in range(4)]

    assert "Ceph is HEALTH_WARN" in texts("gpu-1", ceph=ceph("HEALTH_WARN"), pools=[pool(2)], osds=osds)[0]


def where_down(*hosts: str, wanted: int = 1) -> list[Object]:
    """Four OSDs on four nodes; those of the given hosts do not run."""
    found = []
    for number in (1, 2, 3, 4):
        host = f"gpu-{number}"
        found.append(osd(number, host, wanted=wanted, ready=0) if host in hosts else osd(number, host))
    return found


@pytest.mark.parametrize("wanted", [0, 1], ids=["stopped", "evicted"])
@pytest.mark.parametrize(
    ("down", "health", "stays"),
    [
        ({"gpu-1"}, "HEALTH_WARN", False),
        ({"gpu-2"}, "HEALTH_WARN", False),  # it leaves with gpu-1
        ({"gpu-1", "gpu-3"}, "HEALTH_WARN", True),
        (set(), "HEALTH_WARN", True),
        ({"gpu-1"}, "HEALTH_ERR", True),
    ],
)
def test_a_goodbye_that_was_cut_is_not_held_up_by_its_own_doing(
    down: set[str], health: str, wanted: int, stays: bool
) -> None:
    """OSDs that it evicted or stopped make Ceph warn; given again, it must go on, and somebody else's trouble still counts."""
    seen = picture("gpu-1", ceph=ceph(health), pools=[pool(2)], osds=where_down(*down, wanted=wanted))

    assert bool(find_blockers(mark_removal_in_progress(seen, {"gpu-1", "gpu-2"}))) is stays


@pytest.mark.parametrize(("leaving", "stays"), [("gpu-1", False), ("gpu-2", True)])
def test_the_osds_of_a_node_that_fell_silent_are_down_before_the_api_says_so(leaving: str, stays: bool) -> None:
    """It marks one pod after the other, so Ceph may miss a monitor while the OSD beside it still seems to run."""
    nodes = [node("gpu-1", ready=False), node("gpu-2"), node("gpu-3")]
    warns = ceph("HEALTH_WARN", "MON_DOWN")
    seen = picture(leaving, nodes=nodes, ceph=warns, pools=[pool(2)], osds=where_down())

    assert bool(find_blockers(mark_removal_in_progress(seen, {leaving}))) is stays


@pytest.mark.parametrize(
    ("checks", "drained", "stays"),
    [
        (("MON_DOWN", "MGR_DOWN"), True, False),
        (("MON_DOWN",), False, True),
        (("MON_DOWN", "PG_DEGRADED"), True, True),
    ],
)
def test_a_monitor_that_the_drain_moves_does_not_hold_up_the_goodbye(
    checks: tuple[str, ...], drained: bool, stays: bool
) -> None:
    """Rook waits ten minutes before it starts one elsewhere; it has no copies of anything."""
    leaving = node("gpu-1")
    leaving["spec"]["unschedulable"] = drained
    seen = picture("gpu-1", nodes=[leaving], ceph=ceph("HEALTH_WARN", *checks), pools=[pool(2)], osds=where_down())

    assert bool(find_blockers(mark_removal_in_progress(seen, {"gpu-1"}))) is stays


def test_a_second_osd_is_judged_as_if_the_first_had_left() -> None:
    """Two at once would pass one by one and lose data together."""
    osds = [osd(n, f"gpu-{n + 1}") for n in range(3)]
    whole = picture("gpu-2", ceph=ceph(), pools=[pool(2)], osds=osds)

    assert find_blockers(whole) == []
    assert "1 would remain" in find_blockers(without_nodes(whole, {"gpu-1"}))[0].text


def test_file_systems_count_as_pools_do() -> None:
    shared = {"spec": {"metadataPool": {"replicated": {"size": 3}}, "dataPools": [{"replicated": {"size": 2}}]}}
    osds = [osd(n, f"gpu-{n + 1}") for n in range(3)]

    assert "3 copies" in texts("gpu-1", ceph=ceph(), pools=[shared], osds=osds)[0]


def test_local_volumes_are_named_by_their_claims() -> None:
    volumes = [local_volume("vision/data", "gpu-1"), local_volume("vision/other", "gpu-2"), local_volume("vision/any")]
    (text,) = texts("gpu-1", volumes=volumes)

    assert "vision/data" in text
    assert "other" not in text
    assert "any" not in text


def test_a_volume_that_two_nodes_can_reach_is_not_lost_with_one() -> None:
    assert texts("gpu-1", volumes=[local_volume("vision/data", "gpu-1", "gpu-2")]) == []


def test_jobs_and_notebooks_are_work_and_name_their_owner() -> None:
    pods = [
        pod("train-1", owner="Job/train", gpus=2),
        pod("jupyter-ada", user="ada", gpus=1),
        pod("web-1", owner="ReplicaSet/web"),
    ]
    (text,) = texts("gpu-1", pods=pods)

    assert "vision/jupyter-ada (of ada, 1 GPU)" in text
    assert "vision/train-1 (2 GPU)" in text
    assert "web-1" not in text, "a Deployment's pod is started anew elsewhere"


def test_a_word_overrules_its_own_objection_only() -> None:
    found = find_blockers(picture("gpu-1", pods=[pod("train", owner="Job/t")], volumes=[local_volume("a/b", "gpu-1")]))
    left = unresolved(found, {Override.JOBS})

    assert [objection.override for objection in left] == [Override.DATA]


def test_pods_that_stay_or_have_ended_hold_nothing_up() -> None:
    static = pod("static")
    static["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
    pods = [static, pod("log", owner="DaemonSet/log"), pod("done", owner="Job/done", phase="Succeeded"), pod("here")]

    assert [item["metadata"]["name"] for item in evictable_pods(pods)] == ["here"]


def test_slices_count_as_gpus() -> None:
    sliced = pod("sliced")
    sliced["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-1g.5gb": "2", "cpu": "4"}

    assert count_gpus(sliced) == 2


@pytest.mark.parametrize(("count", "right"), [(1, True), (2, False), (3, True), (4, False), (5, True), (0, True)])
def test_an_even_number_of_servers_survives_no_more_than_one_fewer(count: int, right: bool) -> None:
    assert (server_count_problem(count) == "") is right


def test_five_become_three_one_after_the_other() -> None:
    """Each is off before its vote goes: four of five, then three of four."""
    five = servers(True, True, True, True, True)
    first = picture("server-5", nodes=five)
    second = picture("server-4", nodes=five[:4])

    assert list(quorum_blockers(first)) == list(quorum_blockers(second)) == []
