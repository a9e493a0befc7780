"""What a node offers to pods: its size, less what the kernel, the system and Kubernetes' own processes keep. Pure.

The kubelet computes allocatable = capacity - kube-reserved - system-reserved - hard eviction threshold (kubernetes.io, Reserve Compute
Resources). K3s reserves nothing by itself and sets no threshold for memory, so both are written into its configuration.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from config.base import MIB_PER_GIB
from config.hosts import Node, Role

MAX_PODS = 110
"""Pods a node: the kubelet's default."""
EVICTION_MIB = 100
"""`memory.available` below which the kubelet evicts pods: its own default, which K3s's `eviction-hard` takes away."""
EVICTION_HARD = f"memory.available<{EVICTION_MIB}Mi,nodefs.available<5%,imagefs.available<5%"
"""The two disk thresholds are K3s's (pkg/daemons/agent, defaultKubeletConfig); a flag replaces all of them."""
_SERVER = (250, 1600)
"""Millicores and MiB of a server's API server, etcd and controllers, which K3s runs in its own process. Source: docs.k3s.io,
Resource Profiling: 1.6 GiB with embedded etcd."""
_SYSTEM = (100, 256)
"""Millicores and MiB of the operating system: journald, udev, sshd, guest agent. An assumption; nobody publishes a formula."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of CPU and memory.

    Attributes:
        cpu: Millicores.
        memory: MiB.
    """

    cpu: int
    memory: int

    def __add__(self, other: Self) -> "Amount":
        return Amount(self.cpu + other.cpu, self.memory + other.memory)

    def __sub__(self, other: Self) -> "Amount":
        return Amount(self.cpu - other.cpu, self.memory - other.memory)

    def __mul__(self, count: int) -> "Amount":
        return Amount(self.cpu * count, self.memory * count)

    def covers(self, other: Self) -> bool:
        """Whether both amounts of the other are at most these."""
        return self.cpu >= other.cpu and self.memory >= other.memory

    @property
    def rounded_up(self) -> str:
        """As people read a need: `2 cores, 5 GiB`."""
        return f"{-(-self.cpu // 1000)} cores, {-(-self.memory // MIB_PER_GIB)} GiB"

    @property
    def as_reservation(self) -> str:
        """As the kubelet's flags take it: `cpu=110m,memory=1465Mi`."""
        return f"cpu={self.cpu}m,memory={self.memory}Mi"


NOTHING = Amount(0, 0)


def format_amount(amount: Amount) -> str:
    """`14 cores, 54 GiB`, rounded down."""
    return f"{amount.cpu // 1000} cores, {amount.memory // MIB_PER_GIB} GiB"


def total(amounts: Iterable[Amount]) -> Amount:
    """Sum of amounts."""
    return sum(amounts, NOTHING)


def kube_reserved(node: Node) -> Amount:
    """What kubelet, containerd and kube-proxy keep, and on a server the control plane.

    CPU by cores and memory by pods, as Amazon EKS reserves them (amazon-eks-ami, `get_cpu_millicores_to_reserve`: 6 % of the first
    core, 1 % of the second, 0.5 % of the next two, 0.25 % of all others; 255 MiB and 11 MiB a pod).
    """
    cores = node.shape.cores
    steps = [60, 10, 5, 5]
    cpu = sum(steps[:cores]) + (max(cores - len(steps), 0) * 5 + 1) // 2
    reserved = Amount(cpu, 255 + 11 * MAX_PODS)
    return reserved + Amount(*_SERVER) if node.role is Role.SERVER else reserved


def system_reserved(node: Node) -> Amount:  # noqa: ARG001 - a node's, like the others
    """What the operating system keeps."""
    return Amount(*_SYSTEM)


def kernel_share(node: Node) -> int:
    """MiB of a machine's memory that Linux does not count as `MemTotal`.

    64 of 4096 bytes for `struct page` (Documentation/mm), and 256 MiB for the kernel's image, its tables and the firmware: more than
    virtual machines of 16 to 128 GiB miss.
    """
    return node.shape.memory // 64 + 256


def capacity(node: Node) -> Amount:
    """What the kubelet finds, at least."""
    return Amount(node.shape.cores * 1000, node.shape.memory - kernel_share(node))


def allocatable(node: Node) -> Amount:
    """What the kubelet offers to pods, at least."""
    return capacity(node) - kube_reserved(node) - system_reserved(node) - Amount(0, EVICTION_MIB)
