"""What the workers of a site offer: GPUs by kind, and the largest worker. Pure.

A kind is a card's model (`rtx-4090`), a slice of it (`a100-40gb/1g.5gb`), or a share of it (`rtx-4090/shared`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from config.gpus import Sharing
from config.hosts import Node, Role

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
    total: Counter[str] = Counter()
    for node in nodes:
        if node.role is Role.WORKER:
            total += gpus_by_kind(node)
    return total


@dataclass(frozen=True, slots=True)
class WorkerCapacity:
    """The largest amounts that one worker offers.

    Attributes:
        cores: Virtual CPUs.
        memory: MiB.
        gpus: GPUs of the requested kind.
    """

    cores: int
    memory: int
    gpus: int


def fits_on_worker(nodes: Iterable[Node], *, cores: int, memory: int, kind: str | None, gpus: int) -> bool:
    """Whether a pod of this size fits on an empty worker; the kind `whole` is any card that is not shared."""
    return any(
        node.shape.cores >= cores
        and node.shape.memory >= memory
        and (kind is None or _count_of_kind(node, kind) >= gpus)
        for node in nodes
        if node.role is Role.WORKER
    )


def largest_worker(nodes: Iterable[Node], kind: str | None) -> WorkerCapacity:
    """The largest amounts among the workers that have the kind; zeros if none has it."""
    having = [node for node in nodes if node.role is Role.WORKER and (kind is None or _count_of_kind(node, kind))]
    return WorkerCapacity(
        cores=max((node.shape.cores for node in having), default=0),
        memory=max((node.shape.memory for node in having), default=0),
        gpus=max((_count_of_kind(node, kind) for node in having if kind), default=0),
    )


def _count_of_kind(node: Node, kind: str) -> int:
    """Number of GPUs of a kind on a node; `whole`, or a MIG profile without a model, counts all models."""
    offers = gpus_by_kind(node)
    if kind == "whole":
        return sum(count for name, count in offers.items() if "/" not in name)
    return sum(count for name, count in offers.items() if kind in {name, name.partition("/")[2]})
