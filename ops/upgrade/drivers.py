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
from ops.nodes.blockers import gpus_of
from ops.nodes.facts import full_name

RUNS = "nvidia.com/cuda.driver-version.full"
"""Label of GPU Feature Discovery: the driver's version, as the driver itself says it (k8s-device-plugin, internal/lm/nvml.go)."""
PRESENT = "nvidia.com/gpu.present"
STATE = "nvidia.com/gpu-driver-upgrade-state"
"""Label of the operator's upgrade controller (k8s-operator-libs, pkg/upgrade/consts.go); it ends as `upgrade-done`."""
DONE, FAILED, REQUIRED = "upgrade-done", "upgrade-failed", "upgrade-required"


@dataclass(frozen=True)
class Driver:
    """The driver of one node.

    Attributes:
        node: The node.
        runs: Its driver; empty where none has told yet.
        state: Where the operator's upgrade of it stands; empty for none.
        holders: Pods that hold its GPUs.
    """

    node: str
    runs: str
    state: str = ""
    holders: tuple[str, ...] = ()


def drivers(nodes: list[Object], pods: list[Object]) -> list[Driver]:
    """Reads the nodes with GPUs."""
    found = []
    for node in nodes:
        name, labels = node["metadata"]["name"], node["metadata"].get("labels") or {}
        if RUNS in labels or labels.get(PRESENT) == "true":
            holders = [full_name(pod) for pod in pods if pod["spec"].get("nodeName") == name and gpus_of(pod)]
            found.append(Driver(name, labels.get(RUNS, ""), labels.get(STATE, ""), tuple(sorted(holders))))
    return found


def verdict(one: Driver, site: Site) -> str:
    """What is wrong with a node's driver; empty where nothing is."""
    return "; ".join([*_against_pin(one, cuda.expected_driver(site)), *_against_images(one, site)])


def _against_pin(one: Driver, pin: str | None) -> Iterator[str]:
    if one.state == FAILED:
        yield (
            f"the operator's upgrade failed: kubectl -n gpu-operator get pods -o wide; once mended: kubectl label node "
            f"{one.node} --overwrite {STATE}={REQUIRED}"
        )
    elif not one.runs:
        yield "no driver has told its version yet"
    elif pin and one.runs != pin:
        waits = f"held by {', '.join(one.holders)}" if one.holders else "nothing holds its GPUs"
        state = f", {one.state}" if one.state and one.state != DONE else ""
        yield f"the pin is {pin}{state}; {waits}"


def _against_images(one: Driver, site: Site) -> Iterator[str]:
    if not one.runs:
        return
    for image, major in cuda.offered_images(site):
        if least := cuda.required_driver(one.runs, major):
            yield f"too old for {image}: CUDA {major} needs driver {least} or newer"


def notes(found: list[Driver], site: Site) -> Iterator[str]:
    """What is worth knowing about all of them."""
    pin = cuda.expected_driver(site)
    behind = [one.node for one in found if pin and one.runs and one.runs != pin]
    if behind and len(behind) < len(found):
        yield (
            f"{len(behind)} of {len(found)} nodes with GPUs do not run driver {pin} yet ({', '.join(behind)}): the operator brings "
            f"them on one by one, the next when the last is done; to free a node: ./lyceum node drain … {behind[0]}"
        )
    elif behind:
        yield f"no node runs driver {pin} yet: ./lyceum up gives it to the operator, which goes node by node"
    if not pin and len(versions := sorted({one.runs for one in found if one.runs})) > 1:
        yield f"nodes run different NVIDIA drivers: {', '.join(versions)}"
