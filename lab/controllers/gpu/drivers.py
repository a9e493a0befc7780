"""The NVIDIA driver of each node: loaded when the node is new, and upgraded node by node as the operator's controller does.

Plays the driver's DaemonSet, the upgrade controller and the part of GPU feature discovery that tells the driver's version.
Work that holds a card is not looked at: here nothing computes.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from lab.controllers.changes import Change, ensure, stamp
from lab.controllers.gpu.operator import DRIVER, gpu_nodes
from lab.controllers.snapshot_cache import Object, World, annotations, labels, name, path, ready

__all__ = ["decide"]

RUNS = "lab.lyceum/driver"
"""Node annotation: the driver that is loaded."""
BEGUN = "lab.lyceum/driver-begun"
"""Node annotation: since when it is being replaced."""
STATE = "nvidia.com/gpu-driver-upgrade-state"
SKIP = "nvidia.com/gpu-driver-upgrade.skip"
"""Node label by which an administrator keeps the controller away."""
DRIVER_SECONDS = 3.0
"""How long a driver takes to be replaced; on hardware three to five minutes."""


def decide(world: World) -> Iterator[Change]:
    """Loads the ClusterPolicy's driver where none is loaded, and replaces others one node at a time."""
    policies = world.all("ClusterPolicy")
    driver = next((item for item in world.all("DaemonSet") if name(item) == DRIVER), None)
    if not policies or driver is None or not ready(driver):
        return
    wanted = str(path(policies[0], "spec", "driver", "version", default=""))
    automatic = path(policies[0], "spec", "driver", "upgradePolicy", "autoUpgrade", default=True)
    nodes = sorted(gpu_nodes(world), key=name)
    behind = [node for node in nodes if annotations(node).get(RUNS, wanted) != wanted]
    due = [node for node in behind if labels(node).get(SKIP) != "true"]
    for node in nodes:
        if node not in behind:
            yield from _loaded(node, wanted)
        elif automatic and due and node is due[0]:
            yield from _replaced(world, node, wanted)
        else:
            state = {STATE: "upgrade-required"} if automatic else {}
            yield from ensure(node, {"metadata": {"labels": state | _told(annotations(node)[RUNS])}})


def _replaced(world: World, node: Object, wanted: str) -> Iterator[Change]:
    begun = annotations(node).get(BEGUN)
    if begun is None:
        body = {"labels": {STATE: "pod-restart-required"}, "annotations": {BEGUN: stamp(world.now)}}
        yield from ensure(node, {"metadata": body})
    elif world.now - datetime.fromisoformat(begun) >= timedelta(seconds=DRIVER_SECONDS):
        yield from _loaded(node, wanted)


def _loaded(node: Object, version: str) -> Iterator[Change]:
    body = {"labels": {STATE: "upgrade-done", **_told(version)}, "annotations": {RUNS: version, BEGUN: None}}
    yield from ensure(node, {"metadata": body})


def _told(version: str) -> dict[str, str]:
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
