"""The NVIDIA driver of each node: loaded when the node is new, and upgraded node by node as the operator's controller does.

Stands in for the driver's DaemonSet, the upgrade controller and the part of GPU feature discovery that labels the driver's version.
Workloads that hold a card are not checked: nothing computes here.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from lab.controllers.changes import Change, ensure_fields, format_time
from lab.controllers.gpu.operator import DRIVER, gpu_nodes
from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path, is_ready, labels, name

LOADED_DRIVER = "lab.lyceum/driver"
"""Node annotation: the driver that is loaded."""
REPLACEMENT_STARTED = "lab.lyceum/driver-begun"
"""Node annotation: since when it is being replaced."""
UPGRADE_STATE = "nvidia.com/gpu-driver-upgrade-state"
SKIP_UPGRADE = "nvidia.com/gpu-driver-upgrade.skip"
"""Node label by which an administrator keeps the controller away."""
DRIVER_SECONDS = 3.0
"""How long a driver takes to be replaced; on hardware three to five minutes."""


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Loads the ClusterPolicy's driver where none is loaded, and replaces others one node at a time."""
    policies = cache.all("ClusterPolicy")
    driver = next((item for item in cache.all("DaemonSet") if name(item) == DRIVER), None)
    if not policies or driver is None or not is_ready(driver):
        return
    wanted = str(get_path(policies[0], "spec", "driver", "version", default=""))
    automatic = get_path(policies[0], "spec", "driver", "upgradePolicy", "autoUpgrade", default=True)
    nodes = sorted(gpu_nodes(cache), key=name)
    behind = [node for node in nodes if annotations(node).get(LOADED_DRIVER, wanted) != wanted]
    due = [node for node in behind if labels(node).get(SKIP_UPGRADE) != "true"]
    for node in nodes:
        if node not in behind:
            yield from _report_loaded(node, wanted)
        elif automatic and due and node is due[0]:
            yield from _replace_driver(cache, node, wanted)
        else:
            state = {UPGRADE_STATE: "upgrade-required"} if automatic else {}
            yield from ensure_fields(
                node, {"metadata": {"labels": state | _version_labels(annotations(node)[LOADED_DRIVER])}}
            )


def _replace_driver(cache: ClusterCache, node: Object, wanted: str) -> Iterator[Change]:
    begun = annotations(node).get(REPLACEMENT_STARTED)
    if begun is None:
        body = {
            "labels": {UPGRADE_STATE: "pod-restart-required"},
            "annotations": {REPLACEMENT_STARTED: format_time(cache.now)},
        }
        yield from ensure_fields(node, {"metadata": body})
    elif cache.now - datetime.fromisoformat(begun) >= timedelta(seconds=DRIVER_SECONDS):
        yield from _report_loaded(node, wanted)


def _report_loaded(node: Object, version: str) -> Iterator[Change]:
    body = {
        "labels": {UPGRADE_STATE: "upgrade-done", **_version_labels(version)},
        "annotations": {LOADED_DRIVER: version, REPLACEMENT_STARTED: None},
    }
    yield from ensure_fields(node, {"metadata": body})


def _version_labels(version: str) -> dict[str, str]:
    """The labels of k8s-device-plugin v0.20 (internal/lm/nvml.go), the deprecated ones too."""
    major, minor, revision = [*version.split("."), "", ""][:3]
    return {
        "nvidia.com/cuda.driver-version.full": version,
        "nvidia.com/cuda.driver-version.major": major,
        "nvidia.com/cuda.driver-version.minor": minor,
        "nvidia.com/cuda.driver-version.revision": revision,
        "nvidia.com/cuda.driver.major": major,
        "nvidia.com/cuda.driver.minor": minor,
        "nvidia.com/cuda.driver.rev": revision,
    }
