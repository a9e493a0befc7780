"""What the workers of a site offer to people: GPUs by kind, and cores and memory as a sum. Pure.

A kind is a card's model (`rtx-4090`), a slice of it (`a100-40gb/1g.5gb`), or a share of it (`rtx-4090/shared`).
"""

from collections import Counter
from collections.abc import Iterable

from config.allocatable import NOTHING, Amount, allocatable, total
from config.gpus import Sharing
from config.hosts import Node, Role, Shift
from config.requests import daemon_requests, hard_taints, platform_requests
from config.site import Site

SHARED = "shared"


def gpus_by_kind(node: Node) -> Counter[str]:
    """GPUs that pods can request on a node: kind -> number."""
    counts: Counter[str] = Counter()
    for gpu in node.gpus:
        if gpu.sharing is Sharing.MIG:
            for profile, count in gpu.layout.items():
                counts[f"{gpu.model}/{profile}"] += count
        elif gpu.sharing is Sharing.EXCLUSIVE:
            counts[gpu.model] += 1
        else:
            counts[f"{gpu.model}/{SHARED}"] += gpu.replicas or 1
    return counts


def offered_gpus(nodes: Iterable[Node]) -> Counter[str]:
    """GPUs on the workers among these nodes: kind -> number."""
    counts: Counter[str] = Counter()
    for node in nodes:
        if node.role is Role.WORKER:
            counts += gpus_by_kind(node)
    return counts


def count_of_kind(node: Node, kind: str) -> int:
    """Number of GPUs of a kind on a node; `whole`, or a MIG profile without a model, counts all models."""
    offers = gpus_by_kind(node)
    if kind == "whole":
        return sum(count for name, count in offers.items() if "/" not in name)
    return sum(count for name, count in offers.items() if kind in {name, name.partition("/")[2]})


def platform_homes(nodes: Iterable[Node]) -> list[Node]:
    """Nodes on which the platform's own pods may stand at every hour: always on, and without a taint."""
    return [node for node in _open_nodes(nodes) if node.shift is Shift.ALWAYS]


def _open_nodes(nodes: Iterable[Node]) -> list[Node]:
    """Nodes on which a pod without tolerations may stand."""
    return [node for node in nodes if node.in_cluster and node.role is not Role.SERVER and not hard_taints(node)]


def platform_share(site: Site, node: Node, nodes: Iterable[Node]) -> Amount:
    """The most of the platform's pods that one node holds.

    The scheduler prefers the node of which the smallest part is requested (kube-scheduler, LeastAllocated), so a node gets at most
    its part of the whole and one pod more. Nodes with a taint hold none.
    """
    every, homes = _open_nodes(nodes), platform_homes(nodes)
    if node not in every:
        return NOTHING
    pods = [request for _, request in platform_requests(site)]
    asked, own = total(pods), allocatable(node)
    together = total(allocatable(one) for one in (homes if node in homes else every))
    cpu = -(-asked.cpu * own.cpu // together.cpu) + max(pod.cpu for pod in pods)
    memory = -(-asked.memory * own.memory // together.memory) + max(pod.memory for pod in pods)
    return Amount(min(asked.cpu, cpu), min(asked.memory, memory))


def room_on_node(site: Site, node: Node) -> Amount:
    """What a node has left for pods that are not its own daemons."""
    return allocatable(node) - total(request for _, request in daemon_requests(site, node))


def homeless_pod(site: Site, homes: Iterable[Node]) -> str | None:
    """Name of a pod of the platform that finds no place on these nodes; None if all do.

    Placed as the scheduler would: each on the node with the most CPU left.
    """
    room = [room_on_node(site, node) for node in homes]
    for name, request in sorted(platform_requests(site), key=lambda pod: pod[1].cpu, reverse=True):
        fitting = [index for index, left in enumerate(room) if left.covers(request)]
        if not fitting:
            return name
        best = max(fitting, key=lambda index: room[index].cpu)
        room[best] -= request
    return None


def left_for_people(site: Site, node: Node, nodes: Iterable[Node]) -> Amount:
    """What a node has left for notebooks and jobs: allocatable less its daemons and its share of the platform, never below 0.

    Args:
        site: The campus.
        node: The node.
        nodes: All nodes in service, on which the platform's pods spread.
    """
    left = room_on_node(site, node) - platform_share(site, node, tuple(nodes))
    return Amount(max(left.cpu, 0), max(left.memory, 0))


def takes_people(node: Node, kind: str | None) -> bool:
    """Whether people's pods that ask for a kind of GPU, or for none, may stand on a node.

    Who asks for a GPU tolerates the taints of the nodes that have it; a taint keeps off those who do not.
    """
    if node.role is not Role.WORKER:
        return False
    return bool(count_of_kind(node, kind)) if kind else not hard_taints(node)


def fits_on_worker(site: Site, nodes: Iterable[Node], request: Amount, kind: str | None, gpus: int) -> bool:
    """Whether a pod with this request starts on a worker where nobody works; the kind `whole` is any card that is not shared."""
    nodes = tuple(nodes)
    return any(
        left_for_people(site, node, nodes).covers(request) and (kind is None or count_of_kind(node, kind) >= gpus)
        for node in nodes
        if takes_people(node, kind)
    )


def largest_request(site: Site, nodes: Iterable[Node], kind: str | None, gpus: int) -> Amount:
    """The most cores and memory that one pod with these GPUs can ask for, on the node with the most memory left."""
    nodes = tuple(nodes)
    left = [
        left_for_people(site, node, nodes)
        for node in nodes
        if takes_people(node, kind) and (kind is None or count_of_kind(node, kind) >= gpus)
    ]
    return max(left, key=lambda one: (one.memory, one.cpu), default=NOTHING)


def most_gpus(nodes: Iterable[Node], kind: str) -> int:
    """The most GPUs of a kind on one worker."""
    return max((count_of_kind(node, kind) for node in nodes if node.role is Role.WORKER), default=0)
