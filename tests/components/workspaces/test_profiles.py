"""JupyterHub's profiles: each can start, all cards of a node can be in use at once, and nobody gets another model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import gpu_resources
from components.workspaces import profiles
from config.capacity import fits_on_worker
from config.hosts import Node
from config.workspaces import Profile
from tests.support.sites import SMALL, Settings, site, with_cards

MIG7: Settings = {"sharing": "mig", "layout": {"1g.5gb": 7}}
TURNS: Settings = {"sharing": "time-slicing", "replicas": 4}


def derived(nodes: tuple[Node, ...], *groups: str) -> dict[str, Profile]:
    return {one.name: one for one in profiles.derive_profiles(nodes, groups)}


def machines(*cards: Settings) -> tuple[Node, ...]:
    return with_cards(*cards).machines


def test_without_a_card_there_is_one_profile() -> None:
    assert list(derived(site().machines[:3])) == ["cpu"]


def test_whole_cards_are_offered_by_their_number() -> None:
    assert list(derived(machines({}, {}))) == [
        "cpu",
        "a100-40gb-1-pytorch",
        "a100-40gb-1-tensorflow",
        "a100-40gb-2-pytorch",
        "a100-40gb-2-tensorflow",
    ]


def test_a_slice_is_offered_one_at_a_time() -> None:
    """Two slices are two devices that no framework uses together."""
    found = derived(machines(MIG7))

    assert list(found) == ["cpu", "a100-40gb-1g-5gb-pytorch", "a100-40gb-1g-5gb-tensorflow"]
    assert found["a100-40gb-1g-5gb-pytorch"].gpu == "a100-40gb/1g.5gb"


def test_a_turn_is_offered_one_at_a_time() -> None:
    assert list(derived(machines({"model": "rtx-4090"} | TURNS)))[1:] == [
        "rtx-4090-shared-pytorch",
        "rtx-4090-shared-tensorflow",
    ]


def test_every_model_of_a_site_is_offered() -> None:
    """R9: nothing may assume one model."""
    hosts = [
        SMALL["hosts"][0] | {"name": f"pve{n}", "gpus": [SMALL["hosts"][0]["gpus"][0] | {"model": model}]}
        for n, model in [(1, "h100-80gb"), (2, "l40s"), (3, "t4")]
    ]
    found = derived(site({"hosts": hosts}).machines)

    assert [name for name in found if name.endswith("-pytorch")] == ["h100-80gb-1-pytorch", "l40s-1-pytorch"]
    assert profiles.spawner_profile(found["l40s-1-pytorch"])["kubespawner_override"]["node_selector"] == {
        "gpu-model": "l40s"
    }


def test_a_share_is_the_nodes_divided_by_its_cards() -> None:
    """18 cores and 72 GiB, of which 2 and 8 stay with the node, for two cards."""
    one, two = (derived(machines({}, {}))[f"a100-40gb-{n}-pytorch"] for n in (1, 2))

    assert (one.cores, one.memory) == (8, 32 * 1024)
    assert (two.cores, two.memory) == (16, 64 * 1024)


def test_where_nodes_differ_the_smallest_share_counts() -> None:
    """It starts on any of them."""
    small = {"name": "gpu-3", "role": "worker", "host": "pve3", "shape": "small", "address": "10.9.0.43"}
    shapes = {"small": {"cores": 6, "memory": "24 GiB", "disk": "100 GiB"}}
    found = derived(site({"shapes": shapes, "nodes": [*SMALL["nodes"], small]}).machines)

    assert (found["a100-40gb-1-pytorch"].cores, found["a100-40gb-1-pytorch"].memory) == (4, 16 * 1024)


def test_gpu_profiles_are_for_their_groups_and_the_cpu_for_everyone() -> None:
    found = derived(machines({}), "cpsHPCAccess")

    assert found["cpu"].groups == ()
    assert {one.groups for name, one in found.items() if name != "cpu"} == {("cpsHPCAccess",)}


def test_a_sites_own_profiles_replace_the_derived_ones() -> None:
    own = [{"name": "mine", "title": "Mine", "cores": 1, "memory": "1 GiB", "image": "quay.io/jupyter/base:1"}]
    campus = site({"workspaces": {"jupyterhub": {"profiles": own}}})

    assert [one.name for one in profiles.effective_profiles(campus, campus.machines)] == ["mine"]


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("whole", "nvidia.com/gpu"),
        ("a100-40gb", "nvidia.com/gpu"),
        ("shared", "nvidia.com/gpu.shared"),
        ("rtx-4090/shared", "nvidia.com/gpu.shared"),
        ("1g.5gb", "nvidia.com/mig-1g.5gb"),
        ("a100-40gb/1g.5gb", "nvidia.com/mig-1g.5gb"),
    ],
)
def test_a_kind_is_asked_for_by_its_resource(kind: str, resource: str) -> None:
    assert profiles.resource_name(kind) == resource


@pytest.mark.parametrize(
    ("kind", "selector"),
    [("whole", {}), ("1g.5gb", {}), ("a100-40gb", {"gpu-model": "a100"}), ("l40s/shared", {"gpu-model": "l40s"})],
)
def test_a_kind_that_names_a_model_runs_on_it(kind: str, selector: dict[str, str]) -> None:
    assert profiles.node_selector(kind) == selector


def override(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = profiles.spawner_profile(profile)["kubespawner_override"]
    return found


def test_a_notebook_gets_what_it_may_use_and_no_more() -> None:
    """A guarantee below the limit would let a student slow a node down (R3)."""
    limits = override(derived(machines({}))["a100-40gb-1-pytorch"])

    assert (
        (limits["cpu_guarantee"], limits["mem_guarantee"]) == (limits["cpu_limit"], limits["mem_limit"]) == (16, "64G")
    )


def test_a_card_is_requested_and_limited_alike() -> None:
    """Kubernetes refuses an extended resource whose request and limit differ."""
    asked = override(derived(machines({}, {}))["a100-40gb-2-pytorch"])

    assert asked["extra_resource_limits"] == asked["extra_resource_guarantees"] == {"nvidia.com/gpu": "2"}


def test_a_card_is_waited_for_longer_than_a_cpu() -> None:
    found = derived(machines({}))

    assert override(found["a100-40gb-1-pytorch"])["start_timeout"] == 1200
    assert "start_timeout" not in override(found["cpu"])


def test_a_gpu_profile_tolerates_the_taint_of_gpu_nodes() -> None:
    """R41 taints them."""
    [toleration] = override(derived(machines({}))["a100-40gb-1-pytorch"])["tolerations"]

    assert (toleration["key"], toleration["effect"]) == ("nvidia.com/gpu", "NoSchedule")
    assert "tolerations" not in override(derived(machines({}))["cpu"])


def test_the_profile_without_a_card_is_the_default() -> None:
    spawned = [profiles.spawner_profile(one) for one in profiles.derive_profiles(machines({}), ())]

    assert [one["slug"] for one in spawned if one["default"]] == ["cpu"]


CARDS = st.lists(st.sampled_from([{}, MIG7, {"sharing": "mig", "layout": {"3g.20gb": 2}}]), min_size=1, max_size=4)
WAYS = (
    CARDS
    | st.lists(st.just(TURNS), min_size=1, max_size=3)
    | st.lists(st.just({"model": "l40s"}), min_size=1, max_size=8)
)


@given(WAYS)
def test_every_profile_can_start(cards: list[Settings]) -> None:
    nodes = machines(*cards)
    offered = gpu_resources.offered_resources(nodes)
    for one in profiles.derive_profiles(nodes, ()):
        assert fits_on_worker(
            nodes, cores=one.cores, memory=one.memory, kind=one.gpu, gpus=one.gpus if one.gpu else 0
        ), one.name
        if one.gpu:
            assert offered[profiles.resource_name(one.gpu)] >= one.gpus


@given(WAYS)
def test_all_cards_of_a_node_can_be_in_use_at_once(cards: list[Settings]) -> None:
    nodes = machines(*cards)
    node = nodes[3]
    offered = gpu_resources.offered_resources([node])
    by_resource = {
        profiles.resource_name(one.gpu): one for one in profiles.derive_profiles(nodes, ()) if one.gpu and one.gpus == 1
    }
    taken = [(by_resource[name].cores * count, by_resource[name].memory * count) for name, count in offered.items()]

    # One core is the least that a notebook gets: with more slices than cores they are shared.
    assert sum(cores for cores, _ in taken) <= max(node.shape.cores, sum(offered.values()))
    assert sum(memory for _, memory in taken) <= node.shape.memory


@given(WAYS)
def test_names_are_unique_and_names_of_hosts(cards: list[Settings]) -> None:
    """A profile's name is its identity, and part of a URL."""
    names = [one.name for one in profiles.derive_profiles(machines(*cards), ())]

    assert len(set(names)) == len(names)
