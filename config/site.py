"""A campus: one file, checked as a whole, resolved to hosts and nodes."""

from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from config.base import DnsLabel, Domain, Model, expand, zipped
from config.gpus import Gpu
from config.hosts import Host, HostGroup, Node, NodeGroup, Proxmox, Role, Shape
from config.k3s import K3s
from config.network import Network
from config.platform import Platform
from config.workspaces import Workspaces

ALL = "all"
STAGES: dict[str, int | None] = {"alpha": 2, "alpha2": 4, "beta": 4, "beta2": 8, ALL: None}
"""Stage -> GPU workers in service (R12); None means all of them."""
VMID_BASE = 100_000
"""Derived VMIDs are this plus the address's place in the site's network, so they are unique and never move."""


class SecretFile(Model):
    """A secret kept in a file by somebody else (sops, Vault agent, systemd credentials)."""

    file: Path
    """The file that holds it, relative to the project."""


class Site(Model):
    """One campus."""

    name: DnsLabel
    """Identity of the site."""
    title: str
    """What people call it."""
    domain: Domain
    """DNS domain of everything people open."""
    simulated: bool = False
    """True only for the embedded campus: nothing in it is real hardware."""
    proxmox: Proxmox
    """The hypervisors."""
    network: Network
    """Addresses."""
    shapes: dict[str, Shape]
    """Sizes of virtual machines, by name."""
    hosts: tuple[HostGroup, ...] = Field(min_length=1)
    """The bare machines."""
    nodes: tuple[NodeGroup, ...] = Field(min_length=1)
    """The virtual machines on them."""
    k3s: K3s = K3s()
    """Kubernetes."""
    platform: Platform = Platform()
    """The layers."""
    workspaces: Workspaces = Workspaces()
    """Where people work."""
    charts: str = Field(default="upstream", pattern=r"^(upstream|https://\S+|oci://\S+)$")
    """Where charts come from: `upstream`, or the URL of a mirror."""
    ca_file: Path | None = None
    """The campus's own CA, trusted by nodes and by Lyceum beside the public ones."""
    secrets: dict[str, SecretFile] = Field(default_factory=dict)
    """Secrets kept in files instead of the stack's configuration."""

    @cached_property
    def bare(self) -> dict[str, Host]:
        """Every bare machine by name."""
        found: dict[str, Host] = {}
        for group in self.hosts:
            names = expand(group.name)
            addresses = zipped(group.address, len(names), "address")
            for name, address in zip(names, addresses, strict=True):
                found[name] = Host(
                    name=name,
                    cpus=group.cpus,
                    memory=group.memory,
                    reserve=group.reserve,
                    disk=group.disk,
                    address=address and IPv4Address(address),
                    gpus=group.gpus,
                )
        return found

    @cached_property
    def machines(self) -> tuple[Node, ...]:
        """Every virtual machine, in the order of the file."""
        return tuple(node for group in self.nodes for node in self._resolve(group))

    def _resolve(self, group: NodeGroup) -> list[Node]:
        names = expand(group.name)
        hosts = zipped(group.host, len(names), "host")
        addresses = [IPv4Address(a) for a in zipped(group.address, len(names), "address")]
        macs = zipped(group.mac, len(names), "mac")
        return [
            Node(
                name=name,
                role=group.role,
                host=host,
                address=address,
                mac=mac or derived_mac(address),
                vm_id=group.vm_id + n if group.vm_id is not None else self._derived_vm_id(address),
                shape=self.shapes[group.shape],
                gpus=self._gpus(group, host),
                labels=group.labels,
                taints=group.taints,
            )
            for n, (name, host, address, mac) in enumerate(zip(names, hosts, addresses, macs, strict=True))
        ]

    def _gpus(self, group: NodeGroup, host: str) -> tuple[Gpu, ...]:
        cards = self.bare[host].gpus
        if group.gpus is None:
            return cards if group.role is Role.WORKER else ()
        return tuple(cards[index] for index in group.gpus)

    def _derived_vm_id(self, address: IPv4Address) -> int:
        return VMID_BASE + int(address) - int(self.network.cidr.network_address)

    def in_service(self, stage: str) -> tuple[Node, ...]:
        """Nodes that exist at a stage: GPU workers up to its number, and whatever stands on a host in service.

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

    @model_validator(mode="after")
    def _resolves(self) -> Self:
        """Names that point somewhere must point at something; the rest of the rules are in `config.rules`."""
        for group in self.nodes:
            if group.shape not in self.shapes:
                raise ValueError(f"nodes `{group.name}`: shape `{group.shape}` is not one of {', '.join(self.shapes)}")
            for host in expand(group.host):
                if host not in self.bare:
                    raise ValueError(f"nodes `{group.name}`: host `{host}` is not among the hosts")
                if missing := [i for i in group.gpus or () if i >= len(self.bare[host].gpus)]:
                    raise ValueError(
                        f"nodes `{group.name}`: GPU {missing[0]} is not on {host}, which has {len(self.bare[host].gpus)}"
                    )
        return self


def derived_mac(address: IPv4Address) -> str:
    """A locally administered MAC that carries the address: 10.21.0.35 -> 02:4c:0a:15:00:23."""
    return ":".join(f"{octet:02x}" for octet in (0x02, 0x4C, *address.packed))


__all__ = ["STAGES", "Site"]
