"""Compares the NVIDIA driver that each node runs with the pin and with the CUDA versions of the offered images. Pure.

The GPU Operator upgrades drivers itself, one node at a time: it cordons, waits for notebooks, evicts other pods with GPUs
and reloads the module (`upgradePolicy` in components/platform/gpus.py). While a pod holds a GPU, the pinned and the running
version can differ for days (gpu-operator#2509), so both are shown for each node, with what the operator waits for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from config import cuda
from config.site import Site
from ops.clients.kubernetes import Object
from ops.nodes.blockers import count_gpus
from ops.nodes.facts import namespaced_name

VERSION_LABEL = "nvidia.com/cuda.driver-version.full"
"""Label of GPU Feature Discovery: the version that the driver itself reports (k8s-device-plugin, internal/lm/nvml.go)."""
PRESENT_LABEL = "nvidia.com/gpu.present"
STATE_LABEL = "nvidia.com/gpu-driver-upgrade-state"
"""Label of the operator's upgrade controller (k8s-operator-libs, pkg/upgrade/consts.go); the last state is `upgrade-done`."""
DONE, FAILED, REQUIRED = "upgrade-done", "upgrade-failed", "upgrade-required"


@dataclass(frozen=True)
class NodeDriver:
    """The driver of driver node.

    Attributes:
        node: The node.
        version: The driver's version; empty while it is not reported.
        state: State of the operator's upgrade; empty if there is none.
        holders: Pods that use the node's GPUs.
    """

    node: str
    version: str
    state: str = ""
    holders: tuple[str, ...] = ()


def read_drivers(nodes: list[Object], pods: list[Object]) -> list[NodeDriver]:
    """Reads the drivers of the nodes with GPUs."""
    found = []
    for node in nodes:
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        if VERSION_LABEL in labels or labels.get(PRESENT_LABEL) == "true":
            holders = [namespaced_name(pod) for pod in pods if pod["spec"].get("nodeName") == name and count_gpus(pod)]
            found.append(
                NodeDriver(name, labels.get(VERSION_LABEL, ""), labels.get(STATE_LABEL, ""), tuple(sorted(holders)))
            )
    return found


def describe_problems(driver: NodeDriver, site: Site) -> str:
    """What is wrong with a node's driver; empty if nothing is."""
    return "; ".join([*_pin_problems(driver, cuda.expected_driver(site)), *_image_problems(driver, site)])


def _pin_problems(driver: NodeDriver, pin: str | None) -> Iterator[str]:
    if driver.state == FAILED:
        yield (
            f"the operator's upgrade failed: kubectl -n gpu-operator get pods -o wide; after the repair: kubectl label node "
            f"{driver.node} --overwrite {STATE_LABEL}={REQUIRED}"
        )
    elif not driver.version:
        yield "no driver has reported its version yet"
    elif pin and not cuda.is_expected_driver(driver.version, pin):
        waits = f"waits for {', '.join(driver.holders)}" if driver.holders else "no pod uses its GPUs"
        state = f", {driver.state}" if driver.state and driver.state != DONE else ""
        yield f"the pin is {pin}{state}; {waits}"


def _image_problems(driver: NodeDriver, site: Site) -> Iterator[str]:
    if not driver.version:
        return
    for image, major in cuda.offered_images(site):
        if least := cuda.required_driver(driver.version, major):
            yield f"too old for {image}: CUDA {major} needs driver {least} or newer"


def find_warnings(drivers: list[NodeDriver], site: Site) -> Iterator[str]:
    """Warnings about the drivers of all nodes."""
    pin = cuda.expected_driver(site)
    behind = [
        driver.node for driver in drivers if pin and driver.version and not cuda.is_expected_driver(driver.version, pin)
    ]
    if behind and len(behind) < len(drivers):
        yield (
            f"{len(behind)} of {len(drivers)} nodes with GPUs do not run driver {pin} yet ({', '.join(behind)}): the operator "
            f"upgrades one node at a time; to free a node: ./lyceum node drain … {behind[0]}"
        )
    elif behind:
        yield f"no node runs driver {pin} yet: ./lyceum up passes it to the operator, which upgrades one node at a time"
    if not pin and len(versions := sorted({driver.version for driver in drivers if driver.version})) > 1:
        yield f"nodes run different NVIDIA drivers: {', '.join(versions)}"
