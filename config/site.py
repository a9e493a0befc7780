"""The settings of a site, and the hosts and machines that follow from them."""

from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from config.base import DnsLabel, Domain, Model, Pattern, broadcast, expand_range
from config.calendar import Calendar
from config.hosts import STORAGE_TAINTS, Desktops, Host, HostGroup, Node, NodeGroup, Proxmox, Role, Shape
from config.identity import Identity
from config.k3s import K3s
from config.network import Network
from config.platform import Platform
from config.tenants import Tenant
from config.versions import CHARTS, Chart
from config.workspaces import Workspaces

ALL = "all"
STAGES: dict[str, int | None] = {"alpha": 2, "alpha2": 4, "beta": 4, "beta2": 8, ALL: None}
"""Stage -> GPU workers in service (R12); None means all of them."""
CA_FILE, STORE_CA_FILE, OIDC_CA_FILE = "ca-file", "platform.backup.s3.ca-file", "identity.oidc.ca-file"
"""Settings that name the CA files of the campus, of its object store and of its identity provider."""
_Card = TypeVar("_Card")
VMID_BASE = 100_000
"""Derived VMIDs are this plus the address's place in the site's network, so they are unique and never move."""


ChartSource = Annotated[
    str,
    Pattern(
        r"^(upstream|https://\S+|oci://\S+)$",
        "is not a valid source of charts",
        "write `upstream`, or a URL with https:// or oci://",
    ),
]


class SecretFile(Model):
    """A secret that another program writes to a file (sops, Vault agent, systemd credentials)."""

    file: Path
    """Path of the file, relative to the project."""


class Site(Model):
    """The settings of one campus.

    This class validates each field; `config.rules` compares fields with each other. Use `config.validate.load_site`:
    only there are all names known to resolve and all addresses to be unique.
    """

    name: DnsLabel
    """Identifier of the site; the same as the file's name."""
    title: str
    """Display name."""
    domain: Domain
    """DNS domain of the pages."""
    simulated: bool = False
    """Whether nothing in it is real hardware; true only for the lab's campus."""
    proxmox: Proxmox
    """The Proxmox VE cluster."""
    network: Network
    """Network and addresses."""
    shapes: dict[str, Shape]
    """Sizes of virtual machines, by name."""
    hosts: tuple[HostGroup, ...] = Field(min_length=1)
    """The hosts: physical Proxmox machines."""
    nodes: tuple[NodeGroup, ...] = Field(min_length=1)
    """The virtual machines on the hosts."""
    k3s: K3s = K3s()
    """Kubernetes."""
    platform: Platform = Platform()
    """The platform layers."""
    workspaces: Workspaces = Workspaces()
    """The workspaces."""
    desktops: Desktops = Desktops()
    """Machines with role `desktop` (R8)."""
    identity: Identity = Identity()
    """Login and roles (R15, R17, R26)."""
    tenants: tuple[Tenant, ...] = ()
    """Tenants: a namespace for each, with a quota (R16, R44)."""
    calendar: Calendar | None = None
    """When the machines are used by their owners, and when by the cluster (R10, R11)."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Charts pinned to another version than Lyceum's: chart -> version."""
    charts: ChartSource = "upstream"
    """Source of the Helm charts: `upstream`, or the URL of a mirror."""
    ca_file: Path | None = None
    """The campus's own CA, PEM; nodes and Lyceum trust it in addition to the public ones."""
    secrets: dict[str, SecretFile] = Field(default_factory=dict)
    """Secrets that are read from files instead of the stack's configuration: name -> file."""

    @cached_property
    def hosts_by_name(self) -> dict[str, Host]:
        """Every host, by its name."""
        found: dict[str, Host] = {}
        for group in self.hosts:
            names = expand_range(group.name)
            addresses = broadcast(group.address, len(names), "address")
            macs = broadcast(group.mac, len(names), "mac")
            bmcs = broadcast(group.bmc, len(names), "bmc")
            for name, address, mac, bmc in zip(names, addresses, macs, bmcs, strict=True):
                found[name] = Host(
                    name=name,
                    cpus=group.cpus,
                    memory=group.memory,
                    reserve=group.reserve,
                    disk=group.disk,
                    thin=group.thin,
                    address=address and IPv4Address(address),
                    gpus=group.gpus,
                    devices=group.devices,
                    power=group.power,
                    mac=mac,
                    bmc=bmc and IPv4Address(bmc),
                )
        return found

    @cached_property
    def machines(self) -> tuple[Node, ...]:
        """Every virtual machine, in the order of the file."""
        return tuple(node for _, node in self.nodes_by_group)

    @cached_property
    def nodes_by_group(self) -> tuple[tuple[int, Node], ...]:
        """Every virtual machine with the index of its group in `nodes`, in the order of the file."""
        return tuple((index, node) for index, group in enumerate(self.nodes) for node in self._resolve(group))

    def _resolve(self, group: NodeGroup) -> list[Node]:
        names = expand_range(group.name)
        hosts = broadcast(group.host, len(names), "host")
        addresses = [IPv4Address(a) for a in broadcast(group.address, len(names), "address")]
        macs = broadcast(group.mac, len(names), "mac")
        return [
            Node(
                name=name,
                role=group.role,
                host=host,
                address=address,
                mac=mac or derive_mac(address),
                vm_id=group.vm_id + n if group.vm_id is not None else self._derived_vm_id(address),
                shape=self.shapes[group.shape],
                gpus=_selected_cards(group.role, group.gpus, self.hosts_by_name[host].gpus),
                devices=_selected_cards(group.role, group.devices, self.hosts_by_name[host].devices),
                shift=group.shift,
                labels=group.labels,
                taints=_node_taints(group.role, group.taints),
            )
            for n, (name, host, address, mac) in enumerate(zip(names, hosts, addresses, macs, strict=True))
        ]

    def _derived_vm_id(self, address: IPv4Address) -> int:
        return VMID_BASE + int(address) - int(self.network.cidr.network_address)

    def chart(self, name: str) -> Chart:
        """A chart at the version that this site uses."""
        pinned = CHARTS[name]
        return replace(pinned, version=self.versions.get(name, pinned.version))

    def in_service(self, stage: str) -> tuple[Node, ...]:
        """Machines that exist at a stage: as many GPU workers as it allows, and what runs on the hosts in service.

        Servers, storage and maintenance machines and CPU workers always exist. Desktops exist on the hosts of the GPU
        workers in service. Order is the file's, so a later stage only adds.
        """
        limit = STAGES[stage]
        gpu_workers = [node for node in self.machines if node.gpus and node.role is Role.WORKER]
        serving = {node.name for node in gpu_workers[:limit]}
        hosts = {node.host for node in gpu_workers[:limit]}

        def exists(node: Node) -> bool:
            if node.role is Role.WORKER and node.gpus:
                return node.name in serving
            return node.role is not Role.DESKTOP or node.host in hosts

        return tuple(node for node in self.machines if exists(node))


def _selected_cards(role: Role, chosen: tuple[int, ...] | None, cards: tuple[_Card, ...]) -> tuple[_Card, ...]:
    """The cards of a host at the given indexes; without indexes a worker gets all, any other machine none."""
    if chosen is None:
        return cards if role is Role.WORKER else ()
    return tuple(cards[index] for index in chosen)


def _node_taints(role: Role, given: tuple[str, ...] | None) -> tuple[str, ...]:
    """The taints of the site, or those of the role."""
    if given is None:
        return STORAGE_TAINTS if role is Role.STORAGE else ()
    return given


def derive_mac(address: IPv4Address) -> str:
    """A locally administered MAC address that contains the IP address: 10.21.0.35 -> 02:4c:0a:15:00:23."""
    return ":".join(f"{octet:02x}" for octet in (0x02, 0x4C, *address.packed))


__all__ = ["STAGES", "Site"]
