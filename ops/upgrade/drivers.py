"""The NVIDIA driver that each node really runs, against the pin and against the CUDA of the images offered. Pure.

The GPU Operator upgrades drivers itself, one node after the other: it cordons, waits for notebooks, moves other pods with
GPUs and reloads the module (`upgradePolicy` in components/platform/gpus.py). What is pinned and what runs may therefore
differ for days while somebody holds a card (gpu-operator#2509); here it is shown by node, with what it waits for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from config import cuda
from config.site import Site
from ops.clients.kubernetes import Object
from ops.nodes.blockers import count_gpus
from ops.nodes.facts import namespaced_name

VERSION_LABEL = "nvidia.com/cuda.driver-version.full"
"""Label of GPU Feature Discovery: the driver's version, as the driver itself says it (k8s-device-plugin, internal/lm/nvml.go)."""
PRESENT_LABEL = "nvidia.com/gpu.present"
STATE_LABEL = "nvidia.com/gpu-driver-upgrade-state"
"""Label of the operator's upgrade controller (k8s-operator-libs, pkg/upgrade/consts.go); it ends as `upgrade-done`."""
DONE, FAILED, REQUIRED = "upgrade-done", "upgrade-failed", "upgrade-required"


@dataclass(frozen=True)
class NodeDriver:
    """The driver of one node.

    Attributes:
        node: The node.
        version: Its driver; empty where none has told yet.
        state: Where the operator's upgrade of it stands; empty for none.
        holders: Pods that hold its GPUs.
    """

    node: str
    version: str
    state: str = ""
    holders: tuple[str, ...] = ()


def read_drivers(nodes: list[Object], pods: list[Object]) -> list[NodeDriver]:
    """Reads the nodes with GPUs."""
    found = []
    for node in nodes:
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        if VERSION_LABEL in labels or labels.get(PRESENT_LABEL) == "true":
            holders = [namespaced_name(pod) for pod in pods if pod["spec"].get("nodeName") == name and count_gpus(pod)]
            found.append(
                NodeDriver(name, labels.get(VERSION_LABEL, ""), labels.get(STATE_LABEL, ""), tuple(sorted(holders)))
            )
    return found


def describe_problems(one: NodeDriver, site: Site) -> str:
    """What is wrong with a node's driver; empty where nothing is."""
    return "; ".join([*_pin_problems(one, cuda.expected_driver(site)), *_image_problems(one, site)])


def _pin_problems(one: NodeDriver, pin: str | None) -> Iterator[str]:
    if one.state == FAILED:
        yield (
            f"the operator's upgrade failed: kubectl -n gpu-operator get pods -o wide; once mended: kubectl label node "
            f"{one.node} --overwrite {STATE_LABEL}={REQUIRED}"
        )
    elif not one.version:
        yield "no driver has told its version yet"
    elif pin and one.version != pin:
        waits = f"held by {', '.join(one.holders)}" if one.holders else "nothing holds its GPUs"
        state = f", {one.state}" if one.state and one.state != DONE else ""
        yield f"the pin is {pin}{state}; {waits}"


def _image_problems(one: NodeDriver, site: Site) -> Iterator[str]:
    if not one.version:
        return
    for image, major in cuda.offered_images(site):
        if least := cuda.required_driver(one.version, major):
            yield f"too old for {image}: CUDA {major} needs driver {least} or newer"


def notes(found: list[NodeDriver], site: Site) -> Iterator[str]:
    """What is worth knowing about all of them."""
    pin = cuda.expected_driver(site)
    behind = [one.node for one in found if pin and one.version and one.version != pin]
    if behind and len(behind) < len(found):
        yield (
            f"{len(behind)} of {len(found)} nodes with GPUs do not run driver {pin} yet ({', '.join(behind)}): the operator brings "
            f"them on one by one, the next when the last is done; to free a node: ./lyceum node drain … {behind[0]}"
        )
    elif behind:
        yield f"no node runs driver {pin} yet: ./lyceum up gives it to the operator, which goes node by node"
    if not pin and len(versions := sorted({one.version for one in found if one.version})) > 1:
        yield f"nodes run different NVIDIA drivers: {', '.join(versions)}"
