"""What the rooms of the lab agree on: the campus as data, and the interface of a virtual machine's power.

The Proxmox simulator turns API calls into `VmSpec` and calls a `Hypervisor`; the host room implements it with
namespaces. Nothing here does any work, so every room can import it and tests can build campuses by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Protocol

from config.proxmox_grants import ApiCall

HTTPS = 443


class AgentSilent(Exception):  # noqa: N818  # a state, read as one
    """The guest agent does not answer: the VM is off, still booting, or runs no agent."""


class HostFailed(Exception):  # noqa: N818  # a state, read as one
    """A VM could not be started or stopped; the text says what failed and is shown as the task's error."""


@dataclass(frozen=True)
class PciDevice:
    """A PCI function of a Proxmox node, as `hardware/pci` shows it; ids are lower-case hex without `0x`."""

    address: str
    """Domain, bus, device, function: `0000:41:00.0`."""
    vendor: str
    """`10de` is NVIDIA."""
    device: str
    subsystem_vendor: str
    subsystem_device: str
    iommu_group: int
    class_id: str
    """Six hex digits: `030200` is a 3D controller, `030000` a VGA controller."""
    name: str
    """As `lspci` says it: `NVIDIA A100 40GB PCIe`."""


@dataclass(frozen=True)
class Storage:
    """A datastore of a Proxmox node."""

    name: str
    type: str
    """`dir`, `lvmthin`, `zfspool`, ..."""
    content: tuple[str, ...]
    """What it may hold: `images`, `iso`, `import`, `snippets`, ..."""
    size_gib: int


@dataclass(frozen=True)
class PveNode:
    """A Proxmox VE host and its hardware."""

    name: str
    address: str
    cpus: int
    memory_mib: int
    pci: tuple[PciDevice, ...]
    storages: tuple[Storage, ...]
    bridges: tuple[str, ...]
    disk_gib: int


@dataclass(frozen=True)
class AdminSetup:
    """What the Proxmox administrator does once, as Lyceum's own calls (`config.proxmox_grants`)."""

    before_token: tuple[ApiCall, ...]
    after_token: tuple[ApiCall, ...]


@dataclass(frozen=True)
class StoreSpec:
    """An object store of the campus, with one bucket."""

    address: IPv4Address
    port: int
    bucket: str
    region: str


@dataclass(frozen=True)
class Person:
    """Somebody who can log in."""

    name: str
    title: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class LoginSpec:
    """An identity provider of the campus, with the directory behind it."""

    address: IPv4Address
    host: str
    """Host of its issuer: `login.lab.lyceum.internal`."""
    client: str
    """Its only client's id."""
    page: str
    """URL of the page that sends people to it, without a slash at the end."""
    domain: str
    """Domain of mail addresses."""
    people: tuple[Person, ...]
    port: int = HTTPS
    directory_port: int = 389
    """Of the directory, on loopback: only the identity provider asks it."""

    @property
    def issuer(self) -> str:
        """Its issuer, as the site names it."""
        return f"https://{self.host}" + (f":{self.port}" if self.port != HTTPS else "")


@dataclass(frozen=True)
class LabSpec:
    """A whole campus: its network, its Proxmox nodes, and what their administrator sets up once."""

    name: str
    cidr: IPv4Network
    gateway: IPv4Address
    nodes: tuple[PveNode, ...]
    mirror: IPv4Address
    setup: AdminSetup | None = None
    """None for a Proxmox that no administrator has prepared: no pool, no token."""
    store: StoreSpec | None = None
    """The object store; None where the site keeps no backups in one."""
    real_nodes: tuple[str, ...] = ()
    """VMs whose kubelet is real, where this machine has the programs; all others have KWOK."""
    login: LoginSpec | None = None
    """The identity provider; None where the site's is not of the campus, or there is none."""
    pages: tuple[tuple[str, IPv4Address], ...] = ()
    """Host names of the pages, with the address of the ingress: what a campus's administrator writes into its DNS."""


@dataclass(frozen=True)
class Nic:
    """A network card of a VM; addresses are what cloud-init gives the guest."""

    mac: str
    bridge: str
    vlan: int | None
    address: str | None
    """With prefix length, `10.21.0.35/16`; None leaves the card without an address."""
    gateway: str | None


@dataclass(frozen=True)
class Disk:
    """A disk of a VM."""

    interface: str
    """`scsi0`, `virtio1`, ..."""
    size_gib: int
    serial: str | None
    boot: bool


@dataclass(frozen=True)
class VmSpec:
    """A VM as its configuration stands at the moment of power-on."""

    vmid: int
    name: str
    node: str
    cores: int
    memory_mib: int
    nics: tuple[Nic, ...]
    dns: tuple[str, ...]
    search: str
    user: str
    """`ciuser` of cloud-init; empty when the VM has none."""
    ssh_keys: tuple[str, ...]
    disks: tuple[Disk, ...]
    gpus: tuple[PciDevice, ...]
    agent: bool


class Hypervisor(Protocol):
    """Power and guest agent of the VMs of a campus."""

    async def start(self, vm: VmSpec) -> None:
        """Power the VM on and return once its init runs; raises `HostFailed`. A running VM is left alone."""
        ...

    async def stop(self, vmid: int, *, force: bool) -> None:
        """Power off: at once when `force`, else units are stopped first. A stopped VM is left alone."""
        ...

    async def delete(self, vmid: int) -> None:
        """Power off at once and remove the VM's disks."""
        ...

    def running(self, vmid: int) -> bool:
        """Whether the VM is powered on."""
        ...

    async def agent(self, vmid: int, command: str, arguments: Mapping[str, str]) -> Any:
        """Answer a guest-agent command (`ping`, `file-read`).

        Returns what Proxmox puts in `data.result` (`data` itself for `file-read`).
        Raises `AgentSilent` when the agent does not answer, `KeyError` for an unknown command and
        `FileNotFoundError` when `file-read` names no file.
        """
        ...
