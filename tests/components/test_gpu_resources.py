"""From the one GPU model to Kubernetes: whatever a site says, all that follows from it must say the same."""

from collections import Counter
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components import gpu_resources as gpus
from config.gpus import CARDS, Gpu, Sharing
from config.hosts import Node
from config.mig import can_place
from lab.controllers.gpu import mig
from lab.controllers.gpu.cards import Card
from tests.support.sites import site, with_cards

MIG7 = {"sharing": "mig", "layout": {"1g.5gb": 7}}
SLICED = {"sharing": "time-slicing", "replicas": 4}
SERVED = {"sharing": "mps", "replicas": 8}


def node(*cards: dict[str, Any]) -> Node:
    """A worker with these cards."""
    return with_cards(*cards).machines[3]


@pytest.mark.parametrize(
    ("cards", "offered"),
    [
        ([{}], {"nvidia.com/gpu": 1}),
        ([{}, {}], {"nvidia.com/gpu": 2}),
        ([MIG7], {"nvidia.com/mig-1g.5gb": 7}),
        (
            [{"sharing": "mig", "layout": {"3g.20gb": 1, "1g.5gb": 2}}],
            {"nvidia.com/mig-1g.5gb": 2, "nvidia.com/mig-3g.20gb": 1},
        ),
        ([MIG7, {}], {"nvidia.com/gpu": 1, "nvidia.com/mig-1g.5gb": 7}),
        ([SLICED], {"nvidia.com/gpu.shared": 4}),
        ([SERVED, SERVED], {"nvidia.com/gpu.shared": 16}),
    ],
)
def test_each_way_of_sharing_offers_its_resources(cards: list[dict[str, Any]], offered: dict[str, int]) -> None:
    assert gpus.offered_resources([node(*cards)]) == offered


def test_a_share_is_never_called_a_whole_card() -> None:
    """Whoever asks for a card must not get a quarter of one."""
    assert gpus.WHOLE not in gpus.offered_resources([node(SLICED)])


def test_nodes_add_up() -> None:
    assert gpus.offered_resources([node({}), node(MIG7), node({})]) == {"nvidia.com/gpu": 2, "nvidia.com/mig-1g.5gb": 7}


def test_a_machine_outside_the_cluster_offers_nothing_to_it() -> None:
    desktop = {"name": "desk", "role": "desktop", "host": "pve1", "shape": "gpu", "address": "10.9.0.9", "gpus": [0]}

    assert gpus.gpu_nodes(site({"nodes": [desktop]}).machines) == []


@pytest.mark.parametrize(
    ("cards", "labels"),
    [
        ([{}], {}),
        ([MIG7], {"nvidia.com/mig.config": "all-7x1g.5gb"}),
        ([SLICED], {"nvidia.com/device-plugin.config": "time-slicing-4"}),
        ([SERVED], {"nvidia.com/device-plugin.config": "mps-8"}),
    ],
)
def test_a_node_is_labelled_with_its_way_of_sharing(cards: list[dict[str, Any]], labels: dict[str, str]) -> None:
    assert gpus.node_gpu_labels(node(*cards)) == labels


def test_two_counts_of_one_profile_are_two_configurations() -> None:
    """With one name the second node would silently get the first one's layout."""
    few, many = node({"sharing": "mig", "layout": {"1g.5gb": 3}}), node(MIG7)
    configs = yaml.safe_load(gpus.mig_config([few, many]))["mig-configs"]

    assert configs[gpus.mig_profile(few)][0]["mig-devices"] == {"1g.5gb": 3}
    assert configs[gpus.mig_profile(many)][0]["mig-devices"] == {"1g.5gb": 7}


def test_the_order_in_which_a_layout_is_written_changes_nothing() -> None:
    """After a changed label the GPU Operator reconfigures the card, which ends what runs on it."""
    one = node({"sharing": "mig", "layout": {"3g.20gb": 1, "1g.5gb": 2}})
    other = node({"sharing": "mig", "layout": {"1g.5gb": 2, "3g.20gb": 1}})

    assert gpus.node_gpu_labels(one) == gpus.node_gpu_labels(other)
    assert gpus.mig_config([one]) == gpus.mig_config([other])


def test_the_fallback_of_the_mig_manager_is_always_there() -> None:
    """It applies it to every node without a label; without it those nodes fail."""
    configs = yaml.safe_load(gpus.mig_config([node({})]))["mig-configs"]

    assert configs == {"all-disabled": [{"devices": "all", "mig-enabled": False}]}


def test_cards_that_differ_are_written_one_by_one() -> None:
    configs = yaml.safe_load(gpus.mig_config([both := node(MIG7, {})]))["mig-configs"]

    assert configs[gpus.mig_profile(both)] == [
        {"devices": [0], "mig-enabled": True, "mig-devices": {"1g.5gb": 7}},
        {"devices": [1], "mig-enabled": False},
    ]


def test_a_node_with_mps_has_no_mig_strategy_and_the_others_keep_theirs() -> None:
    """With `mixed` the device plugin ends: "using --mig-strategy=mixed is not supported with MPS" (k8s-device-plugin)."""
    configs = gpus.plugin_configs([served := node(SERVED), sliced := node(SLICED)])
    strategies = {name: yaml.safe_load(text)["flags"]["migStrategy"] for name, text in configs.items()}

    assert strategies == {"default": "mixed", gpus.plugin_profile(served): "none", gpus.plugin_profile(sliced): "mixed"}


def test_the_operator_leaves_the_strategy_to_each_node_where_one_uses_mps() -> None:
    """Its variable would beat the node's file."""
    assert gpus.mig_strategy([node(SERVED), node(MIG7)]) == ""
    assert gpus.mig_strategy([node(SLICED), node(MIG7)]) == "mixed"


def test_a_device_plugin_without_a_label_shares_nothing() -> None:
    default = yaml.safe_load(gpus.plugin_configs([node({})])["default"])

    assert default == {"version": "v1", "flags": {"migStrategy": "mixed"}}


@pytest.mark.parametrize(("card", "way"), [(SLICED, "timeSlicing"), (SERVED, "mps")])
def test_a_shared_card_is_renamed_and_no_pod_gets_two_shares(card: dict[str, Any], way: str) -> None:
    """Two shares are no more than one, so asking for two is a mistake that must be told."""
    shared = yaml.safe_load(gpus.plugin_configs([of := node(card)])[gpus.plugin_profile(of) or ""])["sharing"]

    assert shared == {
        way: {
            "renameByDefault": True,
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/gpu", "replicas": card["replicas"]}],
        }
    }


@st.composite
def shared_cards(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Cards of one machine as the rules allow them: one model, and one way of sharing or whole beside MIG."""
    model = draw(st.sampled_from(sorted(CARDS)))
    card = CARDS[model]
    way = draw(st.sampled_from([Sharing.MIG, Sharing.TIME_SLICING] if card.mig else [Sharing.TIME_SLICING]))
    if way is Sharing.TIME_SLICING:
        replicas = draw(st.none() | st.integers(2, 48))
        one = {"sharing": way.value, "replicas": replicas} if replicas else {}
        return [{"model": model} | one] * draw(st.integers(1, 4))
    return draw(st.lists(_mig_card(model) | st.just({"model": model}), min_size=1, max_size=4))


@st.composite
def _mig_card(draw: st.DrawFn, model: str) -> dict[str, Any]:
    card = CARDS[model]
    layout: dict[str, int] = {}
    for profile in draw(st.lists(st.sampled_from(sorted(card.mig)), min_size=1, max_size=7)):
        more = layout | {profile: layout.get(profile, 0) + 1}
        layout = more if can_place(more, card.mig) else layout
    return {"model": model, "sharing": "mig", "layout": layout}


def machine(name: str, cards: list[dict[str, Any]]) -> Node:
    slots = [Gpu.model_validate({"pci": f"0000:{n:02x}:00.0", "iommu-group": n} | card) for n, card in enumerate(cards)]
    return site().machines[3].model_copy(update={"name": name, "gpus": tuple(slots)})


machines = st.lists(shared_cards(), min_size=1, max_size=4).map(
    lambda all_cards: [machine(f"gpu-{n}", cards) for n, cards in enumerate(all_cards)]
)


def card_of(gpu: Gpu) -> Card:
    """The lab's card of the same model."""
    fact = gpu.card
    return Card(product=fact.product, memory_mib=fact.memory_gib * 1024, mig=fact.mig, id=fact.id)


@given(machines)
def test_every_label_names_a_configuration_and_is_a_label(nodes: list[Node]) -> None:
    migs, plugins = yaml.safe_load(gpus.mig_config(nodes))["mig-configs"], gpus.plugin_configs(nodes)
    for one in nodes:
        labels = gpus.node_gpu_labels(one)

        assert labels.get("nvidia.com/mig.config", gpus.ALL_DISABLED) in migs
        assert labels.get("nvidia.com/device-plugin.config", "default") in plugins
        assert all(len(value) <= 63 for value in labels.values()), "Kubernetes' limit of a label's value"


@given(machines)
def test_the_configuration_that_a_node_is_labelled_with_gives_what_the_site_says(nodes: list[Node]) -> None:
    """Read as mig-parted reads it, by the lab's reader, which knows nothing of how it was written."""
    text = gpus.mig_config(nodes)
    for one in nodes:
        called = gpus.mig_profile(one) or gpus.ALL_DISABLED
        made = mig.plan_layout(called, text, [card_of(gpu) for gpu in one.gpus])

        assert made == [dict(gpu.layout) for gpu in one.gpus]


@given(machines)
def test_what_is_offered_together_is_what_each_card_offers(nodes: list[Node]) -> None:
    counted: Counter[str] = Counter()
    for one in nodes:
        for gpu in one.gpus:
            counted.update(gpus.card_resources(gpu))

    assert gpus.offered_resources(nodes) == dict(counted)
    assert all(count > 0 for count in counted.values())
