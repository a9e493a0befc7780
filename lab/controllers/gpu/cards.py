"""The cards of a node, and what each kind of card is."""

import json
import re
from dataclasses import dataclass

from config.gpus import CARDS
from config.mig import Profiles
from lab.controllers.snapshot_cache import Object, annotations

GPUS = "lab.lyceum/gpus"
"""Node annotation: JSON list of the VM's passthrough devices, ``{address, vendor, device, name}``."""

NVIDIA = "10de"


@dataclass(frozen=True)
class Card:
    """One NVIDIA GPU."""

    product: str
    """As the driver names it, with dashes: value of ``nvidia.com/gpu.product``."""
    memory_mib: int
    mig: Profiles
    """MIG profiles; empty without MIG."""
    id: str
    """PCI device id as in a MIG configuration's device filter: ``0x20F110DE``."""


def list_cards(node: Object) -> list[Card]:
    """The NVIDIA cards of a node, in the order of their addresses."""
    listed = json.loads(annotations(node).get(GPUS, "[]"))
    found = sorted((item for item in listed if item["vendor"] == NVIDIA), key=lambda item: str(item["address"]))
    return [_card(item) for item in found]


def _card(device: dict[str, str]) -> Card:
    identity = f"0x{device['device']}{device['vendor']}".upper().replace("0X", "0x")
    known = next((card for card in CARDS.values() if card.id == f"{device['vendor']}:{device['device']}"), None)
    if known:
        return Card(known.product, known.memory_gib * 1024, known.mig, identity)
    # A card that is not in the catalogue: its name says what it is, and usually how much memory it has.
    memory = re.search(r"(\d+) ?GB", device["name"])
    return Card(re.sub(r"[^A-Za-z0-9.]+", "-", device["name"]), int(memory[1]) * 1024 if memory else 0, {}, identity)
