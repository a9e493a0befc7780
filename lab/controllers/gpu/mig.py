"""MIG layouts: what a named configuration makes of a node's cards."""

import functools
from collections.abc import Sequence
from typing import Any

import yaml

from config.mig import can_place
from lab.controllers.gpu.cards import Card

Slices = dict[str, int]
"""MIG profile -> number of devices on one card; empty for a card that stays whole."""


class LayoutError(ValueError):
    """The configuration is unknown or does not fit the cards; the text says why."""


@functools.lru_cache(maxsize=64)
def parse_configuration(text: str) -> dict[str, Any]:
    """A configuration file; many nodes read the same one, and again at every decision. The result must not be changed."""
    found: dict[str, Any] = yaml.safe_load(text) or {}
    return found


def plan_layout(called: str, text: str | None, cards: Sequence[Card]) -> list[Slices]:
    """What each card becomes.

    Args:
        called: Name of the configuration, the value of ``nvidia.com/mig.config``.
        text: ``config.yaml`` in mig-parted's format, or None for the one that mig-manager makes from the hardware:
            ``all-disabled``, ``all-enabled`` and ``all-<profile>``.
        cards: The node's cards.

    Raises:
        LayoutError: mig-manager would report ``failed``.
    """
    if text is None:
        return [_layout_from_hardware(called, card) for card in cards]
    configurations: dict[str, list[dict[str, Any]]] = parse_configuration(text).get("mig-configs") or {}
    if called not in configurations:
        raise LayoutError(f"no MIG configuration '{called}'; there are {', '.join(sorted(configurations))}")
    result: list[Slices] = [{} for _ in cards]
    for rule in configurations[called]:
        for at, card in enumerate(cards):
            if _matches(rule, at, card):
                result[at] = _check_slices(dict(rule.get("mig-devices") or {}), card) if rule.get("mig-enabled") else {}
    return result


def _matches(rule: dict[str, Any], at: int, card: Card) -> bool:
    filters = rule.get("device-filter") or [card.id]
    filters = [filters] if isinstance(filters, str) else filters
    if card.id.lower() not in [item.lower() for item in filters]:
        return False
    return rule["devices"] == "all" or at in rule["devices"]


def _layout_from_hardware(called: str, card: Card) -> Slices:
    wanted = called.removeprefix("all-")
    if wanted in ("disabled", "enabled") or not card.mig:
        return {}
    if wanted not in card.mig:
        raise LayoutError(f"no MIG configuration '{called}' for {card.product}; it has profiles {', '.join(card.mig)}")
    return {wanted: card.mig[wanted].most}


def _check_slices(slices: Slices, card: Card) -> Slices:
    if slices and not card.mig:
        raise LayoutError(f"{card.product} has no MIG")
    for profile, count in slices.items():
        most = card.mig[profile].most if profile in card.mig else 0
        if count > most:
            raise LayoutError(f"{count} x {profile} do not fit on {card.product}; at most {most}")
    if not can_place(slices, card.mig):
        raise LayoutError(f"{slices} has no placement on {card.product}")
    return slices
