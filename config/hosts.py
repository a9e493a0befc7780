"""Bare machines, and the virtual machines on them."""

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
    """Runs what people submit; with or without GPUs."""
    STORAGE = "storage"
    """A worker for Ceph, tainted for it unless the site says otherwise."""
    MAINTENANCE = "maintenance"
    """Tools, kubeconfig and the backup timer for the operators; not a cluster node (R21's k3s-maint)."""
    DESKTOP = "desktop"
    """The graphical machine a student lands on; not a cluster node (R8)."""


ImageFileName = Annotated[
    str,
    Pattern(
        r"^[A-Za-z0-9._-]+\.(qcow2|raw|vmdk)$", "is not a valid image file name", "end it in .qcow2, .raw or .vmdk"
    ),
]


class Image(Model):
    """The cloud image that nodes start from; it must have qemu-guest-agent in it."""

    url: HttpUrl
    """Where each Proxmox node downloads it from."""
    sha512: Sha512 | None = None
    """Checksum that Proxmox verifies."""
    file_name: ImageFileName = "lyceum-node.qcow2"
    """Name on the storage."""


class Mappings(StrEnum):
    """Who creates the PCI mappings."""

    EXISTING = "existing"
    """The Proxmox administrator, once (`lyceum proxmox prepare`); the token needs only Mapping.Use."""
    MANAGED = "managed"
    """Lyceum; the token needs Mapping.Modify on /mapping/pci as well."""


class Proxmox(Model):
    """How to reach Proxmox, and which part of it Lyceum uses."""

    endpoint: HttpUrl
    """API of any node of the cluster: `https://pve1.campus.example:8006/`."""
    ca_file: Path | None = None
    """CA of the API's certificate, if it is not a public one. Verification cannot be disabled."""
    pool: DnsLabel = "lyceum"
    """Resource pool that holds our VMs; the token sees nothing outside it."""
    vm_storage: str = "local-lvm"
    """Storage of VM disks; must hold `images`."""
    image_storage: str = "local"
    """Storage of the node image; must hold `import`."""
    image: Image
    """The node image."""
    mappings: Mappings = Mappings.EXISTING
    """Who creates the PCI mappings of the GPUs."""


class DeviceKind(StrEnum):
    """What a passed-through card other than a GPU is."""

    INFINIBAND = "infiniband"
    """A host channel adapter (R19, R37)."""
    ROCE = "roce"
    """An Ethernet adapter with RDMA (R19)."""
    FPGA = "fpga"
    """A programmable accelerator (R37)."""


class Device(Model):
    """A card other than a GPU, passed through to a virtual machine."""

    kind: DeviceKind
    """What it is; becomes the node label `lyceum.io/<kind>`."""
    id: PciId
    """PCI vendor and device, as `lspci -n` prints them."""
    pci: PciAddress
    """Where it sits: `0000:81:00.0`."""
    iommu_group: int = Field(ge=0)
    """Its IOMMU group on the host; the card must be alone in it."""
    subsystem: PciId | None = None
    """Subsystem vendor and device."""


class PowerControl(StrEnum):
    """How a host is switched on remotely (R41)."""

    NONE = "none"
    """By hand; it is never switched off."""
    WAKE_ON_LAN = "wake-on-lan"
    """A magic packet to its MAC address."""
    IPMI = "ipmi"
    """Its management controller; the password is the secret `ipmi-password`."""


class Shift(StrEnum):
    """When a virtual machine runs (R10, R11)."""

    ALWAYS = "always"
    """Day and night."""
    OWNERS = "owners"
    """While the calendar gives the machines to their owners."""
    CLUSTER = "cluster"
    """While the calendar gives the machines to the cluster."""


class HostGroup(Model):
    """One host (a physical Proxmox machine), or as many equal ones as the range in its name gives."""

    name: NamePattern
    """Proxmox node name, or a pattern: `ws-[01-40]`."""
    cpus: int = Field(gt=0)
    """Threads."""
    memory: Size
    """Memory, as in `64 GiB`."""
    reserve: Size = 4096
    """Memory the hypervisor keeps for itself."""
    disk: Size = 1024 * 1024
    """What the VM storage holds."""
    thin: bool = False
    """The VM storage is thin-provisioned and monitored: disks may add up to more than `disk`."""
    address: str | None = None
    """The machine's own address, or a pattern; taken as reserved."""
    gpus: tuple[Gpu, ...] = ()
    """Cards in it."""
    devices: tuple[Device, ...] = ()
    """Other cards that virtual machines may get: InfiniBand, FPGA (R19, R37)."""
    power: PowerControl = PowerControl.NONE
    """How it is switched on from afar (R41)."""
    mac: str | None = None
    """MAC address of its network card, or a pattern; needed for `wake-on-lan`."""
    bmc: str | None = None
    """Address of its management controller, or a pattern; needed for `ipmi`."""


class Desktops(Model):
    """Desktop machines with a graphical interface (R8)."""

    image: Image | None = None
    """Their image, with a desktop in it; the node image if absent."""
    autologin: bool = True
    """Show the desktop when the machine is switched on; the student never sees the hypervisor."""


class Shape(Model):
    """Size of a virtual machine."""

    cores: int = Field(gt=0)
    """Virtual CPUs."""
    memory: Size
    """Memory; with a GPU all of it is pinned."""
    disk: Size
    """System disk."""
    scratch: Size | None = None
    """A second, fast local disk that nobody backs up (R18, R26)."""
    ceph: Size | None = None
    """A raw disk given to Ceph as an OSD."""


Taint = Annotated[
    str,
    Pattern(
        r"^[A-Za-z0-9]([A-Za-z0-9./_-]{0,251}[A-Za-z0-9])?(=[A-Za-z0-9._-]{0,63})?:(NoSchedule|PreferNoSchedule|NoExecute)$",
        "is not a valid taint",
        "write it as in `nvidia.com/gpu=true:NoSchedule`",
    ),
]
"""A node taint: `nvidia.com/gpu=true:NoSchedule` (R41)."""


STORAGE_KEY = "node-role.kubernetes.io/storage"
STORAGE_TAINTS = (f"{STORAGE_KEY}=true:NoSchedule",)
"""What a storage machine has unless the site's file says otherwise: Ceph tolerates it, nobody else's pods do."""


class NodeGroup(Model):
    """One virtual machine, or as many equal ones as the range in its name gives."""

    name: NamePattern
    """VM and host name, or a pattern: `gpu-[01-40]`. The name is the identity: never reuse it for another machine."""
    role: Role
    """What it is for."""
    host: str
    """The host that it runs on, or a pattern of the same length: `ws-[01-40]`."""
    shape: str
    """Its size: a key of `shapes`."""
    address: str
    """Its address, or a pattern: `10.30.1.[1-40]`."""
    mac: str | None = None
    """MAC address, or a pattern; derived from the address if absent."""
    vm_id: VmId | None = None
    """VMID of the first machine; following ones count up. Derived from the address if absent."""
    gpus: tuple[int, ...] | None = None
    """Which of the host's cards it gets, counted from 0; absent on a worker means all of them."""
    devices: tuple[int, ...] | None = None
    """Which of the host's other cards it gets, counted from 0; absent on a worker means all of them."""
    shift: Shift = Shift.ALWAYS
    """When it runs; two machines of opposite shifts may share a card and memory (R10, R11)."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Node labels besides the derived ones; given at the first registration."""
    taints: tuple[Taint, ...] | None = None
    """Node taints, as in `nvidia.com/gpu=true:NoSchedule`; given at the first registration. Absent on a storage machine
    means one that keeps everything but Ceph away; `[]` means none."""


class Host(Model):
    """One host, resolved."""

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
    """One virtual machine, resolved: everything about it is known before anything is created."""

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
        """Name of the PCI mapping that holds exactly this node's cards."""
        return f"lyceum-{self.name}"
