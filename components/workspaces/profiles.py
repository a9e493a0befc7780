"""JupyterHub profiles that follow from the GPU model (R26). Pure."""

from collections.abc import Iterable
from typing import Any

from components import gpu_resources
from config.base import MIB_PER_GIB, format_size
from config.capacity import SHARED, count_of_kind, gpus_by_kind, left_for_people
from config.gpus import CARDS
from config.hosts import Node, Role, split_taint
from config.node_labels import GPU_MODEL
from config.requests import hard_taints
from config.site import Site
from config.versions import CPU_NOTEBOOK, NOTEBOOKS
from config.workspaces import Profile


def _gpu_share(site: Site, node: Node, nodes: tuple[Node, ...]) -> tuple[int, int]:
    """Cores and MiB for each of a node's GPUs, slices or shares; at least one core and one GiB."""
    parts = sum(gpus_by_kind(node).values())
    left = left_for_people(site, node, nodes)
    return max(left.cpu // 1000 // parts, 1), max(left.memory // parts // MIB_PER_GIB, 1) * MIB_PER_GIB


def derive_profiles(site: Site, nodes: tuple[Node, ...]) -> list[Profile]:
    """One profile without a GPU, and for each kind of GPU one for each framework; for whole cards also for each number.

    A profile's cores and memory are what a node has left for people, divided by the GPUs (or slices) that share it, so that
    every GPU of a node can be in use at once. Where nodes with the same kind differ, the smallest share counts: it fits everywhere.

    Args:
        site: The campus.
        nodes: The nodes in service.
    """
    groups = site.workspaces.jupyterhub.gpu_groups
    profiles = [Profile(name="cpu", title="CPU only", cores=2, memory=2 * 1024, image=CPU_NOTEBOOK)]
    workers = [node for node in gpu_resources.gpu_nodes(nodes) if node.role is Role.WORKER]
    for kind in dict.fromkeys(kind for node in workers for kind in gpus_by_kind(node)):
        having = {node.name: gpus_by_kind(node)[kind] for node in workers}
        for count in range(1, 1 + (1 if "/" in kind else max(having.values()))):
            shares = [_gpu_share(site, node, nodes) for node in workers if having[node.name] >= count]
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
    model = kind.partition("/")[0]
    return {GPU_MODEL: model} if model in CARDS else {}


def effective_profiles(site: Site, nodes: tuple[Node, ...]) -> list[Profile]:
    """The site's own profiles, or those that follow from its GPUs."""
    return list(site.workspaces.jupyterhub.profiles) or derive_profiles(site, nodes)


def _memory(mib: int) -> str:
    """As KubeSpawner writes it, in units of 1024: `64G`."""
    return format_size(mib).replace(" ", "").removesuffix("iB")


def tolerations(kind: str, nodes: Iterable[Node]) -> list[dict[str, str]]:
    """Tolerations of the taints of the nodes that have a kind of GPU: they keep off what does not ask for one.

    Not of every taint: a notebook must not start on a node that is being drained.
    """
    keys = {("nvidia.com/gpu", "NoSchedule"): None}
    for node in nodes:
        if node.role is Role.WORKER and count_of_kind(node, kind):
            keys |= {(key, effect): None for key, _, effect in map(split_taint, hard_taints(node))}
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in keys]


def spawner_profile(profile: Profile, nodes: Iterable[Node]) -> dict[str, Any]:
    """One entry of the chart's `singleuser.profileList`; groups and queue are added in jupyterhub.py.

    Args:
        profile: The profile.
        nodes: The nodes in service.
    """
    override: dict[str, Any] = {
        "image": profile.image,
        "cpu_guarantee": profile.cores_guarantee or profile.cores,
        "cpu_limit": profile.cores,
        "mem_guarantee": _memory(profile.memory_guarantee or profile.memory),
        "mem_limit": _memory(profile.memory),
    }
    if profile.gpu:
        amount = {resource_name(profile.gpu): str(profile.gpus)}
        override |= {"extra_resource_limits": amount, "extra_resource_guarantees": amount}
        if selector := node_selector(profile.gpu):
            override["node_selector"] = selector
        override["tolerations"] = tolerations(profile.gpu, nodes)
    description = f"{profile.cores} vCPU, {format_size(profile.memory)}"
    return {
        "display_name": profile.title,
        "slug": profile.name,
        "description": description,
        "default": profile.gpu is None,
        "kubespawner_override": override,
    }
