"""MIG layouts by NVIDIA's placement rules: what the site file accepts, the card can hold, and the lab agrees."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from config.gpus import CARDS, Gpu
from config.mig import can_place, nearest_layout
from lab.controllers.gpu.cards import Card
from lab.controllers.gpu.mig import LayoutError, plan_layout

LISTED = Path(__file__).parents[1] / "data/mig_layouts_a100_40gb.txt"
Layout = dict[str, int]


def listed_layouts() -> list[tuple[Layout, bool]]:
    """Every layout of the list, and whether it fits."""
    lines = [line.split(maxsplit=1) for line in LISTED.read_text().splitlines() if not line.startswith("#")]
    return [(yaml.safe_load(layout), verdict == "fits") for verdict, layout in lines]


def is_accepted(layout: Layout) -> bool:
    card = {"model": "a100-40gb", "pci": "0000:41:00.0", "iommu-group": 41, "sharing": "mig", "layout": layout}
    try:
        Gpu.model_validate(card)
    except ValidationError:
        return False
    return True


def is_applied_by_the_lab(layout: Layout) -> bool:
    a100 = CARDS["a100-40gb"]
    text = yaml.safe_dump({"mig-configs": {"asked": [{"devices": "all", "mig-enabled": True, "mig-devices": layout}]}})
    try:
        return plan_layout("asked", text, [Card(a100.product, 40 * 1024, a100.mig, a100.id)]) == [layout]
    except LayoutError:
        return False


def test_the_list_has_the_layouts_that_counting_compute_slices_accepts() -> None:
    verdicts = [fits for _, fits in listed_layouts()]
    assert (len(verdicts), verdicts.count(False)) == (102, 25)


def test_a_site_file_accepts_exactly_the_layouts_that_have_a_placement() -> None:
    assert [layout for layout, fits in listed_layouts() if is_accepted(layout) is not fits] == []


def test_the_lab_applies_exactly_the_layouts_that_have_a_placement() -> None:
    assert [layout for layout, fits in listed_layouts() if is_applied_by_the_lab(layout) is not fits] == []


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        ("a100-40gb", {"1g.5gb": 2, "2g.10gb": 1, "3g.20gb": 1}),
        ("a100-80gb", {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}),
        ("h100-80gb", {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}),
        ("a30", {"1g.6gb": 2, "2g.12gb": 1}),
    ],
)
def test_the_balanced_layout_of_the_gpu_operator_fits(model: str, layout: Layout) -> None:
    """`all-balanced` of gpu-operator's default mig-parted configuration (assets/state-mig-manager)."""
    assert can_place(layout, CARDS[model].mig)


@pytest.mark.parametrize("model", [name for name, card in CARDS.items() if card.mig])
def test_each_profile_alone_fills_a_card(model: str) -> None:
    profiles = CARDS[model].mig
    for name, profile in profiles.items():
        assert can_place({name: profile.most}, profiles)
        assert not can_place({name: profile.most + 1}, profiles)


def test_a_card_with_four_memory_slices_is_not_one_with_eight() -> None:
    assert not can_place({"4g.24gb": 1, "1g.6gb": 1}, CARDS["a30"].mig)


def test_a_layout_without_a_placement_is_refused_with_one_that_fits() -> None:
    with pytest.raises(
        ValidationError, match=r"\{3g.20gb: 2, 1g.5gb: 1\}, which has no placement.*`\{3g.20gb: 2\}` fits"
    ):
        Gpu.model_validate(
            {
                "model": "a100-40gb",
                "pci": "0000:41:00.0",
                "iommu-group": 41,
                "sharing": "mig",
                "layout": {"3g.20gb": 2, "1g.5gb": 1},
            }
        )


def test_the_layout_that_is_proposed_fits() -> None:
    profiles = CARDS["a100-40gb"].mig
    proposals = [nearest_layout(layout, profiles) for layout, fits in listed_layouts() if not fits]

    assert all(proposal and can_place(proposal, profiles) for proposal in proposals)
