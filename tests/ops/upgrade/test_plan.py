"""The plan of an upgrade of K3s: its order and its blockers (fault matrix N3, U1, U2)."""

import pytest

from ops.upgrade.plan import ClusterNode, Version, find_removed_apis, make_batches, make_plan, read_nodes
from tests.ops.objects import node, pod, servers

OLD, NEW = Version.parse("v1.35.3+k3s1"), Version.parse("v1.36.4+k3s1")
TARGET = str(NEW)


def server(number: int, version: Version = OLD, *, healthy: bool = True) -> ClusterNode:
    return ClusterNode(f"server-{number}", version, server=True, healthy=healthy)


def agent(number: int, version: Version = OLD, *, gpus: int = 0, healthy: bool = True) -> ClusterNode:
    return ClusterNode(f"gpu-{number}", version, server=False, healthy=healthy, gpus=gpus, workloads=bool(gpus))


THREE = [server(1), server(2), server(3)]


def blockers(nodes: list[ClusterNode], release: str = TARGET, removed_apis: tuple[str, ...] = ()) -> str:
    return "\n".join(make_plan(release, nodes, removed_apis=removed_apis).blockers)


def test_servers_keep_their_order_and_idle_agents_come_first() -> None:
    """Nodes with running GPU work are upgraded last."""
    plan = make_plan(TARGET, [*THREE, agent(1, gpus=2), agent(2), agent(3, gpus=1)])

    assert [node.name for node in plan.servers] == ["server-1", "server-2", "server-3"]
    assert [node.name for node in plan.agents] == ["gpu-2", "gpu-3", "gpu-1"]
    assert plan.blockers == ()


def test_an_interrupted_upgrade_continues_with_nodes_on_the_old_release() -> None:
    plan = make_plan(TARGET, [server(1, NEW), server(2), server(3), agent(1)])

    assert [node.name for node in plan.servers] == ["server-2", "server-3"]
    assert plan.upgraded == ("server-1",)
    assert plan.blockers == ()


def test_when_every_node_runs_the_release_there_is_nothing_to_do() -> None:
    plan = make_plan(TARGET, [server(1, NEW, healthy=False), agent(1, NEW)])

    assert (plan.servers, plan.agents, plan.blockers) == ((), (), ())


def test_an_unhealthy_server_blocks_the_upgrade() -> None:
    text = blockers([server(1), server(2, healthy=False), server(3)])

    assert "2/3 etcd members are healthy (server-2 not)" in text


def test_a_minor_release_is_never_skipped() -> None:
    assert "v1.35.3+k3s1 -> v1.37.0+k3s1 skips a minor release: upgrade to v1.36 first" in blockers(
        THREE, "v1.37.0+k3s1"
    )


def test_a_downgrade_is_refused() -> None:
    assert "K3s cannot be downgraded" in blockers(THREE, "v1.34.9+k3s1")


def test_an_agent_that_is_too_far_behind_blocks_the_upgrade() -> None:
    outdated = agent(1, Version.parse("v1.32.1+k3s1"))

    assert "gpu-1 runs v1.32.1+k3s1, more than 3 minor releases behind" in blockers([*THREE, outdated])


def test_a_removed_api_that_clients_still_use_blocks_the_upgrade() -> None:
    assert "no longer has flowcontrol/v1beta3 schemas" in blockers(THREE, removed_apis=("flowcontrol/v1beta3 schemas",))


def test_agents_that_are_not_ready_are_skipped() -> None:
    plan = make_plan(TARGET, [*THREE, agent(1, healthy=False), agent(2)])

    assert [[node.name for node in batch] for batch in make_batches(plan.agents, 5)] == [["gpu-2"]]
    assert plan.warnings == ("gpu-1 not ready: skipped, a later run upgrades them",)


def test_batches_are_no_larger_than_their_size() -> None:
    plan = make_plan(TARGET, [*THREE, *(agent(number) for number in range(7))])

    assert [len(batch) for batch in make_batches(plan.agents, 3)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("v1.36.4+k3s1", "v1.36.4+k3s2"),
        ("v1.36.9+k3s1", "v1.36.10+k3s1"),
        ("v1.36.10+k3s1", "v1.37.0-rc1+k3s1"),
    ],
)
def test_releases_compare_by_age(older: str, newer: str) -> None:
    assert Version.parse(older) < Version.parse(newer)


def test_nodes_are_read_with_their_workloads() -> None:
    found = read_nodes([*servers(True, False), node("gpu-1")], [pod("train", owner="Job/train", gpus=2)])

    assert [(node.name, node.server, node.healthy, node.gpus) for node in found] == [
        ("server-1", True, True, 0),
        ("server-2", True, False, 0),
        ("gpu-1", False, True, 2),
    ]


METRICS = """\
# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="flowcontrol",removed_release="1.36",resource="schemas",subresource="",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="",removed_release="1.40",resource="later",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="componentstatuses",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="old",removed_release="1.36",resource="unused",subresource="",version="v1"} 0
"""


def test_only_removed_apis_that_are_in_use_are_found() -> None:
    assert find_removed_apis(METRICS, NEW) == ("flowcontrol/v1beta3 schemas",)
