"""What a node offers: MIG devices, shared or whole cards, and the labels that say so.

Plays mig-manager, the device plugin and GPU feature discovery for each node that the operator has labelled.
"""

from collections import Counter
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta

from lab.controllers.changes import Change, PostEvent, decide_each, ensure_fields, format_time
from lab.controllers.gpu.cards import Card, list_cards
from lab.controllers.gpu.mig import LayoutError, Slices, parse_configuration, plan_layout
from lab.controllers.gpu.operator import DEVICE_PLUGIN, gpu_nodes
from lab.controllers.snapshot_cache import (
    ClusterCache,
    Object,
    annotations,
    get_path,
    is_ready,
    labels,
    name,
    namespace,
)

WHOLE = "nvidia.com/gpu"

MIG_CONFIG = "nvidia.com/mig.config"
MIG_STATE = "nvidia.com/mig.config.state"
PLUGIN_CONFIG = "nvidia.com/device-plugin.config"

APPLIED_LAYOUT = "lab.lyceum/mig-applied"
"""Node annotation: the MIG configuration in force, ``<name> <text of the layout>``."""
CHANGE_STARTED = "lab.lyceum/mig-begun"
"""Node annotation: since when a change is pending."""

MIG_SECONDS = 1.0
"""How long a change of layout is pending; on hardware half a minute or more."""


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Applies each node's sharing, and advertises the result once the device plugin runs.

    What a kubelet has advertised stays while plugin or operator are merely not ready, as in an outage of a server; it
    goes with the plugin's DaemonSet.
    """
    plugin = next((item for item in cache.all("DaemonSet") if name(item) == DEVICE_PLUGIN), None)
    policies = cache.all("ClusterPolicy")
    served = gpu_nodes(cache) if policies else []

    def serve(node: Object) -> Iterator[Change]:
        if plugin is None or node not in served:
            yield from _advertise(node, {})
        elif is_ready(plugin):
            yield from _share_node(cache, node, policies[0]["spec"], namespace(plugin))

    yield from decide_each(cache.all("Node"), serve)


def _share_node(cache: ClusterCache, node: Object, spec: Object, home: str) -> Iterator[Change]:
    present = list_cards(node)
    settled: list[Slices] = [{} for _ in present]
    if any(card.mig for card in present) and get_path(spec, "migManager", "enabled", default=True):
        try:
            settled = plan_layout(labels(node).get(MIG_CONFIG, "all-disabled"), _mig_text(cache, spec, home), present)
        except LayoutError as error:
            yield PostEvent(node, "MIGConfigFailed", str(error), warning=True)
            yield from ensure_fields(node, {"metadata": {"labels": {MIG_STATE: "failed"}}})
            return
        changing = yield from _change_layout(cache, node, settled)
        if changing:
            yield from _advertise(node, {})
            return
    try:
        config = _plugin_config(cache, node, spec, home)
    except KeyError as error:
        yield PostEvent(node, "DevicePluginConfigMissing", f"specified config {error} does not exist", warning=True)
        yield from _advertise(node, {WHOLE: 0})
        return
    # The operator's environment variable beats the file; without it the file decides for each node.
    strategy = get_path(spec, "mig", "strategy") or get_path(config, "flags", "migStrategy", default="none")
    rule: Object = dict(config.get("sharing") or {})
    offered = _count_devices(settled, strategy)
    if rule.get("mps") and strategy == "mixed":
        # k8s-device-plugin, validateFlags: it ends, and the kubelet counts its devices as gone.
        yield PostEvent(
            node, "DevicePluginFailed", "using --mig-strategy=mixed is not supported with MPS", warning=True
        )
        yield from _advertise(node, dict.fromkeys(offered, 0))
        return
    shared = _share_devices(offered, rule)
    yield from _advertise(node, shared)
    if get_path(spec, "gfd", "enabled", default=True):
        found = _feature_labels(present, settled, strategy, rule) | {"nvidia.com/mig.strategy": strategy}
        yield from ensure_fields(node, {"metadata": {"labels": _remove_stale_labels(node, found)}})


def _mig_text(cache: ClusterCache, spec: Object, home: str) -> str | None:
    """The configuration file of mig-manager; None when it makes its own."""
    called = get_path(spec, "migManager", "config", "name", default="")
    found = cache.get("ConfigMap", called, home) if called else None
    return str(get_path(found, "data", "config.yaml", default="")) if found else None


def _change_layout(cache: ClusterCache, node: Object, settled: list[Slices]) -> Generator[Change, None, bool]:
    """Yields the changes of a node on its way to a layout; returns whether it still is on its way."""
    wanted = f"{labels(node).get(MIG_CONFIG, 'all-disabled')} {settled}"
    if annotations(node).get(APPLIED_LAYOUT) == wanted:
        yield from ensure_fields(node, {"metadata": {"labels": {MIG_STATE: "success"}}})
        return False
    begun = annotations(node).get(CHANGE_STARTED)
    if begun is None:
        body = {"labels": {MIG_STATE: "pending"}, "annotations": {CHANGE_STARTED: format_time(cache.now)}}
        yield from ensure_fields(node, {"metadata": body})
        return True
    if cache.now - datetime.fromisoformat(begun) < timedelta(seconds=MIG_SECONDS):
        return True
    done: Object = {"labels": {MIG_STATE: "success"}, "annotations": {CHANGE_STARTED: None, APPLIED_LAYOUT: wanted}}
    yield from ensure_fields(node, {"metadata": done})
    return True


def _count_devices(settled: list[Slices], strategy: str) -> dict[str, int]:
    """Resource -> number of devices, before sharing."""
    whole = sum(1 for slices in settled if not slices)
    found: Counter[str] = Counter()
    if strategy == "mixed":
        for slices in settled:
            for profile, count in slices.items():
                found[f"nvidia.com/mig-{profile}"] += count
        found[WHOLE] = whole
    elif strategy == "single":
        kinds = {profile for slices in settled for profile in slices}
        # Upstream's rule: all cards alike, or nothing is offered.
        uniform = not kinds or (len(kinds) == 1 and whole == 0)
        found[WHOLE] = (sum(sum(slices.values()) for slices in settled) or whole) if uniform else 0
    else:
        found[WHOLE] = len(settled)
    return {resource: count for resource, count in found.items() if count or resource == WHOLE}


def _plugin_config(cache: ClusterCache, node: Object, spec: Object, home: str) -> Object:
    """The device plugin's configuration that holds for the node.

    Raises:
        KeyError: The node names a configuration that the release did not bring.
    """
    config = get_path(spec, "devicePlugin", "config", default={})
    called = labels(node).get(PLUGIN_CONFIG) or config.get("default") or ""
    if not config.get("name") or not called:
        return {}
    data = get_path(cache.get("ConfigMap", config["name"], home) or {}, "data", default={})
    return parse_configuration(data[called])


def _sharing_strategy(rule: Object) -> tuple[str, Object]:
    for step, called in (("timeSlicing", "time-slicing"), ("mps", "mps")):
        if rule.get(step):
            return called, rule[step]
    return "none", {}


def _share_devices(offered: dict[str, int], rule: Object) -> dict[str, int]:
    _, sharing = _sharing_strategy(rule)
    result = dict(offered)
    for item in sharing.get("resources") or ():
        resource = item["name"]
        if resource in result:
            renamed = item.get("rename") or (f"{resource}.shared" if sharing.get("renameByDefault") else resource)
            result[renamed] = result.pop(resource) * int(item["replicas"])
    return result


def _feature_labels(present: list[Card], settled: list[Slices], strategy: str, rule: Object) -> dict[str, str]:
    """The labels of GPU feature discovery; the first card speaks for all, as upstream has it."""
    sharing, section = _sharing_strategy(rule)
    replicas = {item["name"]: int(item["replicas"]) for item in section.get("resources") or ()}
    renamed = bool(section.get("renameByDefault"))
    first, profiles = present[0], sorted({profile for slices in settled for profile in slices})
    product, count = first.product, len(present)
    if strategy == "single" and profiles:
        product, count = f"{product}-MIG-{profiles[0]}", sum(sum(slices.values()) for slices in settled)
    # A shared resource that keeps its name says so in the product instead.
    if WHOLE in replicas and not renamed:
        product = f"{product}-SHARED"
    found = {
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.memory": str(first.memory_mib),
        "nvidia.com/gpu.replicas": str(replicas.get(WHOLE, 1) if count else 0),
        "nvidia.com/gpu.sharing-strategy": sharing,
        "nvidia.com/mig.capable": "true" if any(card.mig for card in present) else "false",
        "nvidia.com/mps.capable": "true" if sharing == "mps" else "false",
    }
    if strategy == "mixed":
        for profile in profiles:
            number = sum(slices.get(profile, 0) for slices in settled)
            found[f"nvidia.com/mig-{profile}.count"] = str(number)
            found[f"nvidia.com/mig-{profile}.product"] = f"{first.product}-MIG-{profile}"
            found[f"nvidia.com/mig-{profile}.replicas"] = str(replicas.get(f"nvidia.com/mig-{profile}", 1))
    return found


def _remove_stale_labels(node: Object, found: dict[str, str]) -> dict[str, str | None]:
    """Labels of a former MIG layout go."""
    stale = {label: None for label in labels(node) if label.startswith("nvidia.com/mig-") and label not in found}
    return {**stale, **found}


def _advertise(node: Object, offered: dict[str, int]) -> Iterator[Change]:
    """Sets the node's NVIDIA resources to exactly these."""
    there = get_path(node, "status", "capacity", default={})
    stale = {resource: None for resource in there if resource.startswith("nvidia.com/") and resource not in offered}
    wanted = {**stale, **{resource: str(count) for resource, count in offered.items()}}
    if wanted:
        yield from ensure_fields(node, {"status": {"capacity": wanted, "allocatable": wanted}}, "status")
