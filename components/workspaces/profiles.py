"""JupyterHub profiles that follow from the GPU model (R26). Pure."""

from typing import Any

from components import gpu_resources
from config.base import size_text
from config.gpus import Sharing
from config.hosts import Node, Role
from config.site import Site
from config.workspaces import Profile

IMAGES = {
    "pytorch": ("PyTorch", "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03"),
    "tensorflow": ("TensorFlow", "quay.io/jupyter/tensorflow-notebook:cuda-2026-08-03"),
}
CPU_IMAGE = "quay.io/jupyter/scipy-notebook:2026-08-03"
_RESERVED_CORES, _RESERVED_MIB = 2, 8 * 1024
"""What a worker keeps for Kubernetes, Ceph and the GPU Operator."""


def _share(node: Node, parts: int) -> tuple[int, int]:
    """Cores and MiB of one of `parts` equal parts of a node, at least one core and one GiB."""
    cores = max((node.shape.cores - _RESERVED_CORES) // parts, 1)
    return cores, max((node.shape.memory - _RESERVED_MIB) // parts // 1024, 1) * 1024


def derived(nodes: tuple[Node, ...], groups: tuple[str, ...]) -> list[Profile]:
    """One profile without a GPU, and per way of having one a profile for each framework.

    A profile's cores and memory are the node's, divided by the GPUs (or slices) that share it, so that every GPU of a
    node can be in use at once.
    """
    profiles = [Profile(name="cpu", title="CPU only", cores=2, memory=2 * 1024, image=CPU_IMAGE)]
    seen: set[tuple[str, int]] = set()
    for node in gpu_resources.gpu_nodes(nodes):
        if node.role is not Role.WORKER:
            continue
        units = sum(sum(gpu_resources.resource(gpu).values()) for gpu in node.gpus)
        for gpu in node.gpus:
            for resource in gpu_resources.resource(gpu):
                whole = gpu.sharing is Sharing.EXCLUSIVE
                counts = range(1, len(node.gpus) + 1) if whole else range(1, 2)
                for count in counts:
                    kind = _kind(resource)
                    if (kind, count) in seen:
                        continue
                    seen.add((kind, count))
                    profiles += _profiles(gpu.card.label, kind, count, _share(node, units), groups)
    return profiles


def _kind(resource: str) -> str:
    name = resource.removeprefix("nvidia.com/")
    return {"gpu": "whole", "gpu.shared": "shared"}.get(name, name.removeprefix("mig-"))


def _profiles(model: str, kind: str, count: int, share: tuple[int, int], groups: tuple[str, ...]) -> list[Profile]:
    cores, memory = share
    what = {"whole": f"{count} GPU{'s' if count > 1 else ''}", "shared": "shared GPU"}.get(kind, f"MIG {kind}")
    return [
        Profile(
            name=f"{kind.replace('.', '-')}-{count}-{framework}"
            if kind == "whole"
            else f"{kind.replace('.', '-')}-{framework}",
            title=f"{what} ({model}), {title}",
            cores=cores * count,
            memory=memory * count,
            gpu=kind,
            gpus=count,
            image=image,
            groups=groups,
        )
        for framework, (title, image) in IMAGES.items()
    ]


def resource_name(kind: str) -> str:
    """Kubernetes' name of what a profile's `gpu` asks for."""
    return {"whole": gpu_resources.WHOLE, "shared": gpu_resources.SHARED}.get(kind, f"nvidia.com/mig-{kind}")


def in_effect(site: Site, nodes: tuple[Node, ...]) -> list[Profile]:
    """The site's own profiles, or those that follow from its GPUs."""
    hub = site.workspaces.jupyterhub
    return list(hub.profiles) or derived(nodes, hub.gpu_groups)


def spawner(profile: Profile) -> dict[str, Any]:
    """One entry of the chart's `singleuser.profileList`; groups are filtered by the hub (see jupyterhub.py)."""
    memory = size_text(profile.memory).replace(" ", "").removesuffix("iB")
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
        override["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        # A GPU that is held by somebody else is waited for, not given up on after five minutes.
        override["start_timeout"] = 1200
    description = f"{profile.cores} vCPU, {size_text(profile.memory)}"
    return {
        "display_name": profile.title,
        "slug": profile.name,
        "description": description,
        "default": profile.gpu is None,
        "kubespawner_override": override,
    }
