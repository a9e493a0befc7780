"""JupyterHub's profiles: each can start, all cards of a node can be in use at once, and nobody gets another model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import gpu_resources
from components.workspaces import profiles
from config.base import FROM_FILE
from config.capacity import fits_on_worker, left_for_people
from config.hosts import Node
from config.site import Site
from config.workspaces import Profile
from tests.support.sites import SMALL, Settings, site, with_cards

MIG7: Settings = {"sharing": "mig", "layout": {"1g.5gb": 7}}
TURNS: Settings = {"sharing": "time-slicing", "replicas": 4}


def derived(campus: Site) -> dict[str, Profile]:
    return {one.name: one for one in profiles.derive_profiles(campus, campus.machines)}


def test_without_a_card_there_is_one_profile() -> None:
    assert list(derived(with_cards())) == ["cpu"]


def test_whole_cards_are_offered_by_their_number() -> None:
    assert list(derived(with_cards({}, {}))) == [
        "cpu",
        "a100-40gb-1-pytorch",
        "a100-40gb-1-tensorflow",
        "a100-40gb-2-pytorch",
        "a100-40gb-2-tensorflow",
    ]


def test_a_slice_is_offered_one_at_a_time() -> None:
    """Two slices are two devices that no framework uses together."""
    found = derived(with_cards(MIG7))

    assert list(found) == ["cpu", "a100-40gb-1g-5gb-pytorch", "a100-40gb-1g-5gb-tensorflow"]
    assert found["a100-40gb-1g-5gb-pytorch"].gpu == "a100-40gb/1g.5gb"


def test_a_turn_is_offered_one_at_a_time() -> None:
    assert list(derived(with_cards({"model": "rtx-4090"} | TURNS)))[1:] == [
        "rtx-4090-shared-pytorch",
        "rtx-4090-shared-tensorflow",
    ]


def test_every_model_of_a_site_is_offered() -> None:
    """R9: nothing may assume one model."""
    hosts = [
        SMALL["hosts"][0] | {"name": f"pve{n}", "gpus": [SMALL["hosts"][0]["gpus"][0] | {"model": model}]}
        for n, model in [(1, "h100-80gb"), (2, "l40s"), (3, "t4")]
    ]
    found = derived(site({"hosts": hosts}))

    assert [name for name in found if name.endswith("-pytorch")] == ["h100-80gb-1-pytorch", "l40s-1-pytorch"]
    assert profiles.spawner_profile(found["l40s-1-pytorch"], ())["kubespawner_override"]["node_selector"] == {
        "lyceum.io/gpu-model": "l40s"
    }


def test_a_share_is_the_nodes_divided_by_its_cards() -> None:
    """A node's cards can all be in use at once."""
    campus = with_cards({}, {})
    left = left_for_people(campus, campus.machines[3], campus.machines)
    one, two = (derived(campus)[f"a100-40gb-{n}-pytorch"] for n in (1, 2))

    assert (one.cores, one.memory) == (left.cpu // 2000, left.memory // 2048 * 1024)
    assert (two.cores, two.memory) == (2 * one.cores, 2 * one.memory)


def test_where_nodes_differ_the_smallest_share_counts() -> None:
    """It starts on any of them."""
    small = {"name": "gpu-3", "role": "worker", "host": "pve3", "shape": "small", "address": "10.9.0.43"}
    shapes = {"small": {"cores": 8, "memory": "32 GiB", "disk": "100 GiB"}}
    campus = site({"shapes": shapes, "nodes": [*SMALL["nodes"], small]})
    left = left_for_people(campus, campus.machines[-1], campus.machines)
    found = derived(campus)["a100-40gb-1-pytorch"]

    assert (found.cores, found.memory) == (left.cpu // 1000, left.memory // 1024 * 1024)


def test_gpu_profiles_are_for_their_groups_and_the_cpu_for_everyone() -> None:
    found = derived(with_cards({}, changes={"workspaces": {"jupyterhub": {"gpu-groups": ["cpsHPCAccess"]}}}))

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
    [
        ("whole", {}),
        ("1g.5gb", {}),
        ("a100-40gb", {"lyceum.io/gpu-model": "a100-40gb"}),
        ("a100-80gb", {"lyceum.io/gpu-model": "a100-80gb"}),
        ("l40s/shared", {"lyceum.io/gpu-model": "l40s"}),
    ],
)
def test_a_kind_that_names_a_model_runs_on_it(kind: str, selector: dict[str, str]) -> None:
    assert profiles.node_selector(kind) == selector


def override(profile: Profile, nodes: tuple[Node, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = profiles.spawner_profile(profile, nodes)["kubespawner_override"]
    return found


def test_a_notebook_gets_what_it_may_use_and_no_more() -> None:
    """A guarantee below the limit would let a student slow a node down (R3)."""
    profile = derived(with_cards({}))["a100-40gb-1-pytorch"]
    limits = override(profile)

    assert (limits["cpu_guarantee"], limits["mem_guarantee"]) == (limits["cpu_limit"], limits["mem_limit"])
    assert limits["mem_limit"] == f"{profile.memory // 1024}G"


def test_a_site_may_guarantee_less_than_it_allows() -> None:
    """R26 wants 128 GiB on a machine of 128 GiB, which no node has left."""
    wanted = {"cores": 32, "memory": "128 GiB", "cores-guarantee": 24, "memory-guarantee": "120 GiB"}
    profile = Profile.model_validate(
        {"name": "two", "title": "Two", "image": "quay.io/jupyter/base:1", **wanted}, context=FROM_FILE
    )
    limits = override(profile)

    assert (limits["cpu_limit"], limits["cpu_guarantee"]) == (32, 24)
    assert (limits["mem_limit"], limits["mem_guarantee"]) == ("128G", "120G")


def test_a_card_is_requested_and_limited_alike() -> None:
    """Kubernetes refuses an extended resource whose request and limit differ."""
    asked = override(derived(with_cards({}, {}))["a100-40gb-2-pytorch"])

    assert asked["extra_resource_limits"] == asked["extra_resource_guarantees"] == {"nvidia.com/gpu": "2"}


def test_a_gpu_profile_tolerates_the_taint_of_gpu_nodes() -> None:
    """R41 taints them."""
    [toleration] = override(derived(with_cards({}))["a100-40gb-1-pytorch"])["tolerations"]

    assert (toleration["key"], toleration["effect"]) == ("nvidia.com/gpu", "NoSchedule")
    assert "tolerations" not in override(derived(with_cards({}))["cpu"])


def test_a_gpu_profile_tolerates_what_its_nodes_are_tainted_with_and_nothing_else() -> None:
    """A toleration of everything would start notebooks on a node that is being drained."""
    tainted = SMALL["nodes"][1] | {"taints": ["dedicated=gpu:NoSchedule", "slow=yes:PreferNoSchedule"]}
    nodes = site({"nodes": [SMALL["nodes"][0], tainted]}).machines

    assert override(derived(with_cards({}))["a100-40gb-1-pytorch"], nodes)["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"},
    ]


def test_the_profile_without_a_card_is_the_default() -> None:
    spawned = [profiles.spawner_profile(one, ()) for one in derived(with_cards({})).values()]

    assert [one["slug"] for one in spawned if one["default"]] == ["cpu"]


CARDS = st.lists(st.sampled_from([{}, MIG7, {"sharing": "mig", "layout": {"3g.20gb": 2}}]), min_size=1, max_size=4)
WAYS = (
    CARDS
    | st.lists(st.just(TURNS), min_size=1, max_size=3)
    | st.lists(st.just({"model": "l40s"}), min_size=1, max_size=8)
)


@given(WAYS)
def test_every_profile_can_start(cards: list[Settings]) -> None:
    campus = with_cards(*cards)
    offered = gpu_resources.offered_resources(campus.machines)
    for one in derived(campus).values():
        assert fits_on_worker(campus, campus.machines, one.request, one.gpu, one.gpus if one.gpu else 0), one.name
        if one.gpu:
            assert offered[profiles.resource_name(one.gpu)] >= one.gpus


@given(WAYS)
def test_all_cards_of_a_node_can_be_in_use_at_once(cards: list[Settings]) -> None:
    campus = with_cards(*cards)
    node = campus.machines[3]
    left = left_for_people(campus, node, campus.machines)
    offered = gpu_resources.offered_resources([node])
    by_resource = {
        profiles.resource_name(one.gpu): one for one in derived(campus).values() if one.gpu and one.gpus == 1
    }
    taken = [(by_resource[name].cores * count, by_resource[name].memory * count) for name, count in offered.items()]

    # One core is the least that a notebook gets: with more slices than cores they are shared.
    assert sum(cores for cores, _ in taken) <= max(left.cpu // 1000, sum(offered.values()))
    assert sum(memory for _, memory in taken) <= max(left.memory, 1024 * sum(offered.values()))


@given(WAYS)
def test_names_are_unique_and_names_of_hosts(cards: list[Settings]) -> None:
    """A profile's name is its identity, and part of a URL."""
    names = list(derived(with_cards(*cards)))

    assert len(set(names)) == len(profiles.derive_profiles(with_cards(*cards), with_cards(*cards).machines))
