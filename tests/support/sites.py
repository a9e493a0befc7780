"""A small campus to change one thing of: two hosts with cards, three servers, two workers."""

from copy import deepcopy
from typing import Any

from config.site import Site

Settings = dict[str, Any]

A100: Settings = {"model": "a100-40gb", "pci": "0000:41:00.0", "iommu-group": 41, "subsystem": "10de:145f"}
SMALL: Settings = {
    "name": "campus",
    "title": "A campus",
    "domain": "campus.example",
    "proxmox": {
        "endpoint": "https://pve1.campus.example:8006/",
        "ca-file": "ca.pem",
        "image": {"url": "https://images.campus.example/node.qcow2", "sha512": "ab" * 64},
    },
    "network": {
        "cidr": "10.9.0.0/16",
        "gateway": "10.9.0.1",
        "dns": ["10.9.0.2", "10.9.0.3"],
        "api-address": "10.9.0.30",
        "load-balancers": "10.9.0.50-10.9.0.60",
    },
    "shapes": {
        "server": {"cores": 4, "memory": "16 GiB", "disk": "100 GiB"},
        "gpu": {"cores": 18, "memory": "72 GiB", "disk": "200 GiB", "scratch": "1 TiB", "ceph": "500 GiB"},
    },
    "hosts": [{"name": "pve[1-3]", "cpus": 64, "memory": "512 GiB", "disk": "8 TiB", "gpus": [A100]}],
    "nodes": [
        {"name": "server-[1-3]", "role": "server", "host": "pve[1-3]", "shape": "server", "address": "10.9.0.[31-33]"},
        {"name": "gpu-[1-2]", "role": "worker", "host": "pve[1-2]", "shape": "gpu", "address": "10.9.0.[41-42]"},
    ],
}
"""In the words of a site file."""


def site(changes: Settings | None = None) -> Site:
    """The small campus with changes, in the words of a site file; mappings are merged, everything else is replaced."""
    return Site.model_validate(_merged(SMALL, changes or {}))


def with_cards(*cards: Settings, changes: Settings | None = None) -> Site:
    """The small campus with these cards in every host; each is an A100 in a slot of its own, but for what is given."""
    placed = [
        A100 | {"pci": f"0000:{0x41 + index:02x}:00.0", "iommu-group": 41 + index} | card
        for index, card in enumerate(cards)
    ]
    return site({"hosts": [SMALL["hosts"][0] | {"gpus": placed}], **(changes or {})})


def _merged(base: Settings, changes: Settings) -> Settings:
    both = deepcopy(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = _merged(both[key], value) if nested else deepcopy(value)
    return both
