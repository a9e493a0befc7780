"""Why a VM would not start on a real node. Pure functions."""

from collections.abc import Iterable

from lab.contracts import PveNode
from lab.proxmox import vmspec

HOST_RESERVE_MIB = 1024
"""Memory that the node itself needs; Proxmox VE asks for 1 GiB beside the guests."""


def start_refusal(node: PveNode, config: dict[str, str | int], others: Iterable[dict[str, str | int]]) -> str | None:
    """The error of QEMU that this configuration meets, None when it would start.

    Args:
        node: Where it starts.
        config: The VM's configuration.
        others: Configurations of the VMs that run on the node already.
    """
    q35 = str(config.get("machine", "")).startswith("q35")
    for unit in (1, 3):
        # q35's IDE buses have one unit each; the provider's default CD-ROM sits on ide3 (bpg issue 420).
        if q35 and f"ide{unit}" in config:
            return f"start failed: QEMU exited with code 1: Can't create IDE unit {unit}, bus supports only 1 units"
    passthrough = any(key.startswith("hostpci") for key in config)
    if (
        passthrough
        and any("pcie=1" in str(value) for key, value in config.items() if key.startswith("hostpci"))
        and not q35
    ):
        return "q35 machine model is not enabled"
    wanted = vmspec.memory_mib(config)
    free = node.memory_mib - HOST_RESERVE_MIB - sum(vmspec.memory_mib(other) for other in others)
    if wanted > free:
        # Passthrough pins every page and these VMs do not balloon, so QEMU allocates all of it at start.
        return (
            "start failed: QEMU exited with code 1: cannot set up guest memory 'pc.ram': Cannot allocate memory "
            f"(needs {wanted} MiB, node '{node.name}' has {max(free, 0)} MiB free)"
        )
    cores = int(config.get("cores", 1)) * int(config.get("sockets", 1))
    if cores > node.cpus:
        return f"MAX {node.cpus} vcpus allowed per VM on this node"
    return None
