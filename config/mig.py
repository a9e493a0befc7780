"""MIG: which instances fit on one card together, by NVIDIA's placement rules. Pure.

A card has memory slices: eight on A100 and H100, four on A30. An instance of a profile takes a run of them that begins at one of
the profile's starts; two instances never overlap (NVML, `nvmlDeviceGetGpuInstancePossiblePlacements_v2`). Counting compute slices
does not find this: 3g.20gb has three compute slices, but takes four memory slices.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """Where instances of a profile can lie on a card.

    Attributes:
        starts: First memory slice of each possible instance.
        size: Memory slices of an instance.
    """

    starts: tuple[int, ...]
    size: int

    @property
    def most(self) -> int:
        """Number of instances that a card holds if it holds no others."""
        return len(self.starts)


Profiles = Mapping[str, Profile]
"""Profile by its name, as in `3g.20gb`."""


def _seven_slices(memory: int) -> Profiles:
    """Profiles of a card with seven compute and eight memory slices; memory in GB."""
    slice_gb = memory // 8
    return {
        f"1g.{slice_gb}gb": Profile((0, 1, 2, 3, 4, 5, 6), 1),
        f"1g.{2 * slice_gb}gb": Profile((0, 2, 4, 6), 2),
        f"2g.{2 * slice_gb}gb": Profile((0, 2, 4), 2),
        f"3g.{4 * slice_gb}gb": Profile((0, 4), 4),
        f"4g.{4 * slice_gb}gb": Profile((0,), 4),
        f"7g.{8 * slice_gb}gb": Profile((0,), 8),
    }


A100_40GB = _seven_slices(40)
A100_80GB = H100_80GB = _seven_slices(80)
A30: Profiles = {
    "1g.6gb": Profile((0, 1, 2, 3), 1),
    "2g.12gb": Profile((0, 2), 2),
    "4g.24gb": Profile((0,), 4),
}
"""Source of all tables: NVIDIA's MIG user guide, "Supported MIG Profiles", and `nvidia-smi mig -lgipp` of these cards there."""


def can_place(layout: Mapping[str, int], profiles: Profiles) -> bool:
    """Whether all instances of a layout fit on one card at the same time.

    mig-parted creates them in every order until one succeeds, so it is enough that there is a placement.

    Args:
        layout: Profile -> number of instances.
        profiles: Profiles of the card.

    Raises:
        KeyError: the card does not have the profile.
    """
    instances = [profiles[name] for name, count in layout.items() for _ in range(count)]

    def place(left: list[Profile], taken: frozenset[int]) -> bool:
        if not left:
            return True
        first, *others = left
        runs = (frozenset(range(start, start + first.size)) for start in first.starts)
        return any(place(others, taken | run) for run in runs if not run & taken)

    return place(sorted(instances, key=lambda one: one.most), frozenset())


def format_layout(layout: Mapping[str, int]) -> str:
    """`{3g.20gb: 2, 1g.5gb: 1}`, as a site file writes it."""
    return "{" + ", ".join(f"{name}: {count}" for name, count in layout.items()) + "}"


def nearest_layout(layout: Mapping[str, int], profiles: Profiles) -> dict[str, int]:
    """The layout with as few instances removed as possible, those of the smallest profiles first, until all fit."""
    fitting: dict[str, int] = {}
    for name in sorted(layout, key=lambda one: -profiles[one].size):
        for count in range(1, layout[name] + 1):
            if not can_place(fitting | {name: count}, profiles):
                break
            fitting = fitting | {name: count}
    return {name: fitting[name] for name in layout if name in fitting}
