"""From the one GPU model to Kubernetes: resource names, counts, MIG and device-plugin configurations. Pure."""

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import yaml

from config.gpus import Gpu, Sharing
from config.hosts import Node

WHOLE = "nvidia.com/gpu"
SHARED = "nvidia.com/gpu.shared"
"""The device plugin's name for a share, so that a request for a whole card never gets a share of one."""
ALL_DISABLED = "all-disabled"


def card_resources(gpu: Gpu) -> dict[str, int]:
    """Resource names that a card offers, with their counts."""
    if gpu.sharing is Sharing.MIG:
        return {f"nvidia.com/mig-{profile}": count for profile, count in gpu.layout.items()}
    if gpu.replicas:
        return {SHARED: gpu.replicas}
    return {WHOLE: 1}


def offered_resources(nodes: Iterable[Node]) -> dict[str, int]:
    """Resource names that the nodes offer together, with their counts."""
    total: Counter[str] = Counter()
    for node in nodes:
        for gpu in node.gpus:
            total.update(card_resources(gpu))
    return dict(sorted(total.items()))


def gpu_nodes(nodes: Iterable[Node]) -> list[Node]:
    """Members of the cluster that have a GPU."""
    return [node for node in nodes if node.gpus and node.in_cluster]


def _mig_devices(node: Node) -> list[dict[str, Any]]:
    """A mig-parted configuration of one node, card by card; equal cards are written once, as `all`."""
    cards = [
        {"mig-enabled": True, "mig-devices": dict(sorted(gpu.layout.items()))}
        if gpu.sharing is Sharing.MIG
        else {"mig-enabled": False}
        for gpu in node.gpus
    ]
    if all(card == cards[0] for card in cards):
        return [{"devices": "all", **cards[0]}]
    return [{"devices": [index], **card} for index, card in enumerate(cards)]


def mig_profile(node: Node) -> str | None:
    """Value of the node's `nvidia.com/mig.config` label, or None where no card is in MIG mode."""
    if not any(gpu.sharing is Sharing.MIG for gpu in node.gpus):
        return None
    rules = _mig_devices(node)
    if len(rules) == 1:
        # The counts are in the name: seven slices on one node and three on another are two configurations.
        return "all-" + "-".join(f"{count}x{profile}" for profile, count in rules[0]["mig-devices"].items())
    return f"mixed-{sha256(yaml.safe_dump(rules).encode()).hexdigest()[:8]}"


def mig_config(nodes: Iterable[Node]) -> str:
    """mig-parted's config.yaml with every layout in use, and `all-disabled`, which the MIG manager falls back to."""
    configs: dict[str, Any] = {ALL_DISABLED: [{"devices": "all", "mig-enabled": False}]}
    for node in gpu_nodes(nodes):
        if profile := mig_profile(node):
            configs[profile] = _mig_devices(node)
    return yaml.safe_dump({"version": "v1", "mig-configs": configs}, sort_keys=False)


def plugin_profile(node: Node) -> str | None:
    """Value of the node's `nvidia.com/device-plugin.config` label, or None for the default."""
    for gpu in node.gpus:
        if gpu.replicas:
            return f"{gpu.sharing.value}-{gpu.replicas}"
    return None


def plugin_configs(nodes: Iterable[Node]) -> dict[str, str]:
    """Device-plugin configurations by name; `default` is no sharing.

    Sharing shows in the resource name (`renameByDefault`), and a request for more than one share is refused: two shares
    give no more than one (k8s-device-plugin, `failRequestsGreaterThanOne`).
    """
    configs: dict[str, Any] = {"default": {"version": "v1", "flags": {"migStrategy": "mixed"}}}
    for node in gpu_nodes(nodes):
        for gpu in node.gpus:
            if gpu.replicas:
                way = "timeSlicing" if gpu.sharing is Sharing.TIME_SLICING else "mps"
                shared = {
                    "renameByDefault": True,
                    "failRequestsGreaterThanOne": True,
                    "resources": [{"name": WHOLE, "replicas": gpu.replicas}],
                }
                # With MPS and `mixed` the device plugin ends with an error; a card that is shared has no slices anyway.
                strategy = "none" if way == "mps" else "mixed"
                configs[f"{gpu.sharing.value}-{gpu.replicas}"] = {
                    "version": "v1",
                    "flags": {"migStrategy": strategy},
                    "sharing": {way: shared},
                }
    return {name: yaml.safe_dump(config, sort_keys=False) for name, config in configs.items()}


def mig_strategy(nodes: Iterable[Node]) -> str:
    """The operator's MIG strategy: `mixed`, or empty, so that each node's configuration of the device plugin decides.

    The operator hands it to every device plugin as a variable, which beats the file (gpu-operator, applyMIGConfiguration).
    """
    return "" if any(gpu.sharing is Sharing.MPS for node in gpu_nodes(nodes) for gpu in node.gpus) else "mixed"


def node_gpu_labels(node: Node) -> dict[str, str]:
    """Labels by which the GPU Operator shares this node's cards; empty for whole cards."""
    labels = {"nvidia.com/mig.config": mig_profile(node), "nvidia.com/device-plugin.config": plugin_profile(node)}
    return {key: value for key, value in labels.items() if value}
