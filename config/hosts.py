"""Bare machines, and the virtual machines on them."""

from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import Field, HttpUrl

from config.base import DnsLabel, Mac, Model, Size, VmId
from config.gpus import Gpu


class Role(StrEnum):
    """What a virtual machine is for."""

    SERVER = "server"
    """K3s server: API, etcd, scheduler (R22)."""
    WORKER = "worker"
    """Runs what people submit; with or without GPUs."""
    STORAGE = "storage"
    """A worker for Ceph, tainted for it."""
    MAINTENANCE = "maintenance"
    """Tools, kubeconfig and timers for the operators; not a cluster node (R21's k3s-maint)."""
    DESKTOP = "desktop"
    """The graphical machine a student lands on; not a cluster node (R8)."""


class Image(Model):
    """The cloud image that nodes start from; it must have qemu-guest-agent in it."""

    url: HttpUrl
    """Where each Proxmox node downloads it from."""
    sha512: str | None = Field(default=None, pattern=r"^[0-9a-f]{128}$")
    """Checksum that Proxmox verifies."""
    file_name: str = Field(default="lyceum-node.qcow2", pattern=r"^[A-Za-z0-9._-]+\.(qcow2|raw|vmdk)$")
    """Name on the storage."""


class Mappings(StrEnum):
    """Who creates the PCI mappings."""

    EXISTING = "existing"
    """The Proxmox administrator, once (`lyceum proxmox prepare`); the token needs only Mapping.Use."""
    MANAGED = "managed"
    """Lyceum; the token needs Mapping.Modify on /mapping/pci as well."""


class Proxmox(Model):
    """How to reach Proxmox, and what of it is ours."""

    endpoint: HttpUrl
    """API of any node of the cluster: `https://pve1.campus.example:8006/`."""
    ca_file: Path | None = None
    """CA of the API's certificate, if it is not a public one. There is no way to skip verification."""
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


class HostGroup(Model):
    """One bare machine, or as many alike as the range in its name says."""

    name: str = Field(pattern=r"^[a-z0-9\[\]-]+$")
    """Proxmox node name, or a pattern: `ws-[01-40]`."""
    cpus: int = Field(gt=0)
    """Threads."""
    memory: Size
    """Memory, as in `64 GiB`."""
    reserve: Size = 4096
    """Memory the hypervisor keeps for itself."""
    disk: Size = 1024 * 1024
    """What the VM storage holds."""
    address: str | None = None
    """The machine's own address, or a pattern; taken as reserved."""
    gpus: tuple[Gpu, ...] = ()
    """Cards in it."""


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


class NodeGroup(Model):
    """One virtual machine, or as many alike as the range in its name says."""

    name: str = Field(pattern=r"^[a-z0-9\[\]-]+$")
    """VM and host name, or a pattern: `gpu-[01-40]`. The name is the identity: never reuse it for another machine."""
    role: Role
    """What it is for."""
    host: str
    """The bare machine under it, or a pattern of the same length: `ws-[01-40]`."""
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
    labels: dict[str, str] = Field(default_factory=dict)
    """Node labels besides the derived ones; given at the first registration."""
    taints: tuple[str, ...] = ()
    """Node taints, as in `nvidia.com/gpu=true:NoSchedule`; given at the first registration."""


class Host(Model):
    """One bare machine, resolved."""

    name: DnsLabel
    cpus: int
    memory: Size
    reserve: Size
    disk: Size
    address: IPv4Address | None
    gpus: tuple[Gpu, ...]


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
