"""The order of an upgrade, and why it must not begin (fault matrix N3, U1, U2)."""

import pytest

from ops.upgrade.plan import ClusterNode, Version, find_removed_apis, make_batches, make_plan, read_nodes
from tests.ops.objects import node, pod, servers

OLD, NEW = Version.parse("v1.35.3+k3s1"), Version.parse("v1.36.4+k3s1")
WANTED = str(NEW)


def server(number: int, version: Version = OLD, *, well: bool = True) -> ClusterNode:
    return ClusterNode(f"server-{number}", version, server=True, healthy=well)


def agent(number: int, version: Version = OLD, *, gpus: int = 0, well: bool = True) -> ClusterNode:
    return ClusterNode(f"gpu-{number}", version, server=False, healthy=well, gpus=gpus, workloads=bool(gpus))


THREE = [server(1), server(2), server(3)]


def reasons(found: list[ClusterNode], wanted: str = WANTED, removed: tuple[str, ...] = ()) -> str:
    return "\n".join(make_plan(wanted, found, removed=removed).blockers)


def test_servers_keep_their_order_and_idle_agents_come_first() -> None:
    """Whoever trains on a GPU is disturbed last."""
    found = make_plan(WANTED, [*THREE, agent(1, gpus=2), agent(2), agent(3, gpus=1)])

    assert [one.name for one in found.servers] == ["server-1", "server-2", "server-3"]
    assert [one.name for one in found.agents] == ["gpu-2", "gpu-3", "gpu-1"]
    assert found.blockers == ()


def test_an_interrupted_upgrade_goes_on_with_what_still_runs_the_old_release() -> None:
    found = make_plan(WANTED, [server(1, NEW), server(2), server(3), agent(1)])

    assert [one.name for one in found.servers] == ["server-2", "server-3"]
    assert found.upgraded == ("server-1",)
    assert found.blockers == ()


def test_when_every_node_runs_the_release_there_is_nothing_to_say() -> None:
    found = make_plan(WANTED, [server(1, NEW, well=False), agent(1, NEW)])

    assert (found.servers, found.agents, found.blockers) == ((), (), ())


def test_with_a_dead_server_it_does_not_begin() -> None:
    text = reasons([server(1), server(2, well=False), server(3)])

    assert "2/3 etcd members are healthy (server-2 not)" in text


def test_a_minor_is_never_skipped() -> None:
    assert "v1.35.3+k3s1 -> v1.37.0+k3s1 skips a minor: go through v1.36 first" in reasons(THREE, "v1.37.0+k3s1")


def test_it_never_goes_back() -> None:
    assert "K3s does not go back" in reasons(THREE, "v1.34.9+k3s1")


def test_an_agent_that_fell_too_far_behind_comes_first() -> None:
    far = agent(1, Version.parse("v1.32.1+k3s1"))

    assert "gpu-1 runs v1.32.1+k3s1, more than 3 minors behind" in reasons([*THREE, far])


def test_an_api_that_somebody_uses_and_the_release_lacks_is_named() -> None:
    assert "no longer has flowcontrol/v1beta3 schemas" in reasons(THREE, removed=("flowcontrol/v1beta3 schemas",))


def test_agents_that_are_silent_are_left_for_later() -> None:
    found = make_plan(WANTED, [*THREE, agent(1, well=False), agent(2)])

    assert [[one.name for one in batch] for batch in make_batches(found.agents, 5)] == [["gpu-2"]]
    assert found.notes == ("gpu-1 not ready: left for a later run",)


def test_so_many_agents_go_at_once_and_no_more() -> None:
    found = make_plan(WANTED, [*THREE, *(agent(number) for number in range(7))])

    assert [len(batch) for batch in make_batches(found.agents, 3)] == [3, 3, 1]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("v1.36.4+k3s1", "v1.36.4+k3s2"),
        ("v1.36.9+k3s1", "v1.36.10+k3s1"),
        ("v1.36.10+k3s1", "v1.37.0-rc1+k3s1"),
    ],
)
def test_releases_have_an_order(older: str, newer: str) -> None:
    assert Version.parse(older) < Version.parse(newer)


def test_nodes_are_read_with_their_work() -> None:
    found = read_nodes([*servers(True, False), node("gpu-1")], [pod("train", owner="Job/train", gpus=2)])

    assert [(one.name, one.server, one.healthy, one.gpus) for one in found] == [
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


def test_only_apis_in_use_that_the_release_lacks_count() -> None:
    assert find_removed_apis(METRICS, NEW) == ("flowcontrol/v1beta3 schemas",)
