"""Names and types of resources that components/ declares and the command line finds again in the engine's state."""

from enum import StrEnum

VM_TYPE = "proxmoxve:index/vmLegacy:VmLegacy"
COMMAND_TYPE = "command:remote:Command"
RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"
STACK_TYPE = "pulumi:pulumi:Stack"
CLUSTER_PROVIDER_TYPE = "pulumi:providers:kubernetes"
CLUSTER_TYPES = "kubernetes:"
"""Start of the type of everything that lives inside the cluster."""


class Part(StrEnum):
    """What a resource is for its owner; it is the end of the resource's name: `gpu-1-vm`."""

    VM = "vm"
    HOST_KEY = "host-key"
    K3S = "k3s"
    SNAPSHOT = "snapshot"
    """The snapshot that a restore copies to the first server."""
    MAINTENANCE = "maintenance"
    GPUS = "gpus"
    """The mapping of a host's PCI devices."""
    GPU_SHARING = "gpu-sharing"
    IMAGE = "image"
    """The owner is a host: its copy of the nodes' image."""
    MEMBERS = "members"
    """The owner is the cluster: the command that waits for all its nodes."""
    WEBHOOK = "webhook"
    """The owner is a release: the command that waits until its admission webhook answers."""


MACHINE_PARTS = (Part.VM, Part.HOST_KEY, Part.K3S, Part.SNAPSHOT, Part.MAINTENANCE)
"""What ends with a machine: its VM, and what ran on it or was read from it."""


def resource_name(owner: str, part: Part) -> str:
    """`("gpu-1", Part.HOST_KEY)` -> `gpu-1-host-key`."""
    return f"{owner}-{part}"


def resource_owner(name: str, part: Part) -> str | None:
    """`("gpu-1-host-key", Part.HOST_KEY)` -> `gpu-1`; None where the name is that of another part."""
    owner = name.removesuffix(f"-{part}")
    return owner if owner != name else None
