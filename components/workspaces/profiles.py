"""JupyterHub profiles that follow from the GPU model (R26). Pure."""

from typing import Any

from components import gpu_resources
from config.base import format_size
from config.capacity import SHARED, gpus_by_kind
from config.gpus import CARDS
from config.hosts import Node, Role
from config.site import Site
from config.versions import CPU_NOTEBOOK, NOTEBOOKS
from config.workspaces import Profile

_RESERVED_CORES, _RESERVED_MIB = 2, 8 * 1024
"""Cores and MiB that a worker keeps for Kubernetes, Ceph and the GPU Operator."""


def _gpu_share(node: Node) -> tuple[int, int]:
    """Cores and MiB for each of a node's GPUs, slices or shares; at least one core and one GiB."""
    parts = sum(gpus_by_kind(node).values())
    cores = max((node.shape.cores - _RESERVED_CORES) // parts, 1)
    return cores, max((node.shape.memory - _RESERVED_MIB) // parts // 1024, 1) * 1024


def derive_profiles(nodes: tuple[Node, ...], groups: tuple[str, ...]) -> list[Profile]:
    """One profile without a GPU, and for each kind of GPU one for each framework; for whole cards also for each number.

    A profile's cores and memory are the node's, divided by the GPUs (or slices) that share it, so that every GPU of a
    node can be in use at once. Where nodes with the same kind differ, the smallest share counts: it fits everywhere.
    """
    profiles = [Profile(name="cpu", title="CPU only", cores=2, memory=2 * 1024, image=CPU_NOTEBOOK)]
    workers = [node for node in gpu_resources.gpu_nodes(nodes) if node.role is Role.WORKER]
    for kind in dict.fromkeys(kind for node in workers for kind in gpus_by_kind(node)):
        having = {node.name: gpus_by_kind(node)[kind] for node in workers}
        for count in range(1, 1 + (1 if "/" in kind else max(having.values()))):
            shares = [_gpu_share(node) for node in workers if having[node.name] >= count]
            cores, memory = min(cores for cores, _ in shares), min(memory for _, memory in shares)
            profiles += _framework_profiles(kind, count, (cores * count, memory * count), groups)
    return profiles


def _framework_profiles(kind: str, count: int, size: tuple[int, int], groups: tuple[str, ...]) -> list[Profile]:
    model, _, part = kind.partition("/")
    card = f"{CARDS[model].label}, {CARDS[model].memory_gib} GB"
    what = {"": f"{count} GPU{'s' if count > 1 else ''}", SHARED: "shared GPU"}.get(part, f"MIG {part}")
    name = f"{model}-{part.replace('.', '-') or count}"
    cores, memory = size
    return [
        Profile(
            name=f"{name}-{framework}",
            title=f"{what} ({card}), {title}",
            cores=cores,
            memory=memory,
            gpu=kind,
            gpus=count,
            image=image,
            groups=groups,
        )
        for framework, (title, image) in NOTEBOOKS.items()
    ]


def resource_name(kind: str) -> str:
    """Kubernetes' name of what a profile's `gpu` asks for, with a model (`a100-40gb/1g.5gb`) or of any (`1g.5gb`)."""
    wanted = kind.rpartition("/")[2]
    if wanted == "whole" or wanted in CARDS:
        return gpu_resources.WHOLE
    return gpu_resources.SHARED if wanted == SHARED else f"nvidia.com/mig-{wanted}"


def node_selector(kind: str) -> dict[str, str]:
    """Node labels for a kind that names its model: the resource name alone does not tell models apart."""
    card = CARDS.get(kind.partition("/")[0])
    return {"gpu-model": card.label} if card else {}


def effective_profiles(site: Site, nodes: tuple[Node, ...]) -> list[Profile]:
    """The site's own profiles, or those that follow from its GPUs."""
    hub = site.workspaces.jupyterhub
    return list(hub.profiles) or derive_profiles(nodes, hub.gpu_groups)


def spawner_profile(profile: Profile) -> dict[str, Any]:
    """One entry of the chart's `singleuser.profileList`; groups are filtered by the hub (see jupyterhub.py)."""
    memory = format_size(profile.memory).replace(" ", "").removesuffix("iB")
    override: dict[str, Any] = {
        "image": profile.image,
        "cpu_guarantee": profile.cores,
        "cpu_limit": profile.cores,
        "mem_guarantee": memory,
        "mem_limit": memory,
    }
    if profile.gpu:
        amount = {resource_name(profile.gpu): str(profile.gpus)}
        override |= {"extra_resource_limits": amount, "extra_resource_guarantees": amount}
        if selector := node_selector(profile.gpu):
            override["node_selector"] = selector
        override["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        # A pod may wait for a GPU that is in use, longer than the default of five minutes.
        override["start_timeout"] = 1200
    description = f"{profile.cores} vCPU, {format_size(profile.memory)}"
    return {
        "display_name": profile.title,
        "slug": profile.name,
        "description": description,
        "default": profile.gpu is None,
        "kubespawner_override": override,
    }
