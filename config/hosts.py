"""Hosts, and the virtual machines on them."""

from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl

from config.base import DnsLabel, Mac, Model, NamePattern, Pattern, PciAddress, PciId, Sha512, Size, VmId
from config.gpus import Gpu


class Role(StrEnum):
    """What a virtual machine is for."""

    SERVER = "server"
    """K3s server: API, etcd, scheduler (R22)."""
    WORKER = "worker"
    """Runs workloads; with or without GPUs."""
    STORAGE = "storage"
    """A worker for Ceph; tainted so that only Ceph runs on it, unless the site sets other taints."""
    MAINTENANCE = "maintenance"
    """Tools, kubeconfig and the backup timer for the operators (k3s-maint of R21); not a cluster node."""
    DESKTOP = "desktop"
    """A graphical desktop for students (R8); not a cluster node."""


ImageFileName = Annotated[
    str,
    Pattern(
        r"^[A-Za-z0-9._-]+\.(qcow2|raw|vmdk)$", "is not a valid image file name", "end it in .qcow2, .raw or .vmdk"
    ),
]


class Image(Model):
    """A cloud image that machines start from; it must contain qemu-guest-agent."""

    url: HttpUrl
    """URL from which each Proxmox node downloads it."""
    sha512: Sha512 | None = None
    """SHA-512 checksum that Proxmox verifies; absent means no verification."""
    file_name: ImageFileName = "lyceum-node.qcow2"
    """File name on the storage."""


class Mappings(StrEnum):
    """Who creates the PCI mappings."""

    EXISTING = "existing"
    """The Proxmox administrator, once (`lyceum proxmox prepare`); the token needs only Mapping.Use."""
    MANAGED = "managed"
    """Lyceum; the token needs Mapping.Modify on /mapping/pci as well."""


class Proxmox(Model):
    """The Proxmox VE cluster, and the parts of it that Lyceum uses."""

    endpoint: HttpUrl
    """URL of the API of any node of the cluster: `https://pve1.campus.example:8006/`."""
    ca_file: Path | None = None
    """CA of the API's certificate, PEM, if it is not a public one. Verification cannot be skipped."""
    pool: DnsLabel = "lyceum"
    """Resource pool for Lyceum's VMs; the API token has no access to VMs outside it."""
    vm_storage: str = "local-lvm"
    """Storage for VM disks; its content types must include `images`."""
    image_storage: str = "local"
    """Storage for the node image; its content types must include `import`."""
    image: Image
    """The image that nodes start from."""
    mappings: Mappings = Mappings.EXISTING
    """Who creates the PCI mappings of the GPUs."""


class DeviceKind(StrEnum):
    """Kind of a passed-through PCI card that is not a GPU."""

    INFINIBAND = "infiniband"
    """A host channel adapter (R19, R37)."""
    ROCE = "roce"
    """An Ethernet adapter with RDMA (R19)."""
    FPGA = "fpga"
    """A programmable accelerator (R37)."""


class Device(Model):
    """A PCI card other than a GPU that is passed through to a virtual machine."""

    kind: DeviceKind
    """Its kind; becomes the node label `lyceum.io/<kind>`."""
    id: PciId
    """PCI vendor and device ID, as `lspci -n` prints them."""
    pci: PciAddress
    """PCI address: `0000:81:00.0`."""
    iommu_group: int = Field(ge=0)
    """IOMMU group on the host; the card must be alone in it."""
    subsystem: PciId | None = None
    """PCI subsystem vendor and device ID."""


class PowerControl(StrEnum):
    """How a host is switched on remotely (R41)."""

    NONE = "none"
    """Not at all: Lyceum never switches it off."""
    WAKE_ON_LAN = "wake-on-lan"
    """A Wake-on-LAN packet to its MAC address."""
    IPMI = "ipmi"
    """IPMI to its management controller (BMC); the password is the secret `ipmi-password`."""


class Shift(StrEnum):
    """When a virtual machine runs (R10, R11)."""

    ALWAYS = "always"
    """All the time."""
    OWNERS = "owners"
    """While the calendar gives the machines to their owners."""
    CLUSTER = "cluster"
    """While the calendar gives the machines to the cluster."""


class HostGroup(Model):
    """One host, or several of the same kind if its name contains a range."""

    name: NamePattern
    """Proxmox node name, or a pattern: `ws-[01-40]`."""
    cpus: int = Field(gt=0)
    """CPU threads."""
    memory: Size
    """Memory, as in `64 GiB`."""
    reserve: Size = 4096
    """Memory that the hypervisor keeps for itself."""
    disk: Size = 1024 * 1024
    """Capacity of the VM storage."""
    thin: bool = False
    """Whether the VM storage is thin-provisioned and monitored: the disks may then add up to more than `disk`."""
    address: str | None = None
    """The host's own address, or a pattern; no machine may use it."""
    gpus: tuple[Gpu, ...] = ()
    """Its GPUs."""
    devices: tuple[Device, ...] = ()
    """Other PCI cards that virtual machines may get: InfiniBand, FPGA (R19, R37)."""
    power: PowerControl = PowerControl.NONE
    """How it is switched on remotely (R41)."""
    mac: str | None = None
    """MAC address of its network card, or a pattern; needed for `wake-on-lan`."""
    bmc: str | None = None
    """Address of its management controller, or a pattern; needed for `ipmi`."""


class Desktops(Model):
    """The graphical desktops for students (R8)."""

    image: Image | None = None
    """Their image, which contains a desktop environment; the node image if absent."""
    autologin: bool = True
    """Whether the desktop appears when the host is switched on, so that students never see the hypervisor."""


class Shape(Model):
    """Size of a virtual machine."""

    cores: int = Field(gt=0)
    """Virtual CPUs."""
    memory: Size
    """Memory; all of it is pinned if the machine has a GPU."""
    disk: Size
    """System disk."""
    scratch: Size | None = None
    """A second, fast local disk without backup (R18, R26). So far the machine has it as a raw disk, and the node a label."""
    ceph: Size | None = None
    """A raw disk for Ceph, used as an OSD."""


Taint = Annotated[
    str,
    Pattern(
        r"^[A-Za-z0-9]([A-Za-z0-9./_-]{0,251}[A-Za-z0-9])?(=[A-Za-z0-9._-]{0,63})?:(NoSchedule|PreferNoSchedule|NoExecute)$",
        "is not a valid taint",
        "write it as in `nvidia.com/gpu=true:NoSchedule`",
    ),
]
"""A node taint: `nvidia.com/gpu=true:NoSchedule` (R41)."""


def split_taint(taint: str) -> tuple[str, str, str]:
    """Key, value and effect: `dedicated=gpu:NoSchedule` -> `("dedicated", "gpu", "NoSchedule")`; the value may be empty."""
    head, _, effect = taint.rpartition(":")
    key, _, value = head.partition("=")
    return key, value, effect


STORAGE_KEY = "node-role.kubernetes.io/storage"
STORAGE_TAINTS = (f"{STORAGE_KEY}=true:NoSchedule",)
"""Taints of a storage machine where the site sets none: only Ceph tolerates them."""


class NodeGroup(Model):
    """One virtual machine, or several of the same kind if its name contains a range."""

    name: NamePattern
    """VM and host name, or a pattern: `gpu-[01-40]`. The name is the identity: never reuse it for another machine."""
    role: Role
    """Its role."""
    host: str
    """The host that it runs on, or a pattern of the same length: `ws-[01-40]`."""
    shape: str
    """Its size: a key of `shapes`."""
    address: str
    """Its IP address, or a pattern: `10.30.1.[1-40]`."""
    mac: str | None = None
    """MAC address, or a pattern; derived from the address if absent."""
    vm_id: VmId | None = None
    """VMID of the first machine; the following ones count up. Derived from the address if absent."""
    gpus: tuple[int, ...] | None = None
    """Indexes of the host's GPUs that it gets, from 0; absent on a worker means all of them."""
    devices: tuple[int, ...] | None = None
    """Indexes of the host's other cards that it gets, from 0; absent on a worker means all of them."""
    shift: Shift = Shift.ALWAYS
    """When it runs; two machines with opposite shifts may share a card and memory (R10, R11)."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Node labels in addition to the derived ones; set when the node registers for the first time."""
    taints: tuple[Taint, ...] | None = None
    """Node taints, as in `nvidia.com/gpu=true:NoSchedule`; set when the node registers for the first time. Absent on a
    storage machine means one that only Ceph tolerates; `[]` means none."""


class Host(Model):
    """One host, with every pattern expanded."""

    name: DnsLabel
    cpus: int
    memory: Size
    reserve: Size
    disk: Size
    thin: bool
    address: IPv4Address | None
    gpus: tuple[Gpu, ...]
    devices: tuple[Device, ...]
    power: PowerControl
    mac: Mac | None
    bmc: IPv4Address | None


class Node(Model):
    """One virtual machine, with every pattern and default resolved."""

    name: DnsLabel
    role: Role
    host: DnsLabel
    address: IPv4Address
    mac: Mac
    vm_id: VmId
    shape: Shape
    gpus: tuple[Gpu, ...]
    devices: tuple[Device, ...] = ()
    shift: Shift = Shift.ALWAYS
    labels: dict[str, str]
    taints: tuple[str, ...]

    @property
    def in_cluster(self) -> bool:
        """Whether it joins the Kubernetes cluster."""
        return self.role in {Role.SERVER, Role.WORKER, Role.STORAGE}

    @property
    def mapping(self) -> str:
        """Name of the PCI mapping with exactly this node's cards."""
        return f"lyceum-{self.name}"
