"""Reads the inventory of a Proxmox cluster: hosts, storages, bridges, GPUs with their IOMMU groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from components.proxmox.client import PveError
from config.base import MIB
from config.scaffold import DiscoveredGpu, DiscoveredHost, gpu_model
from ops.clients.proxmox import ProxmoxApi

NVIDIA_VENDOR = "10de"
DISPLAY_CLASS = "0x03"
"""PCI class of display controllers; excludes the audio function of a GPU."""


@dataclass(frozen=True, slots=True)
class ProxmoxInventory:
    """Hosts, network and storages of a Proxmox cluster.

    Attributes:
        hosts: The hosts, sorted by name.
        bridge: Bridge with the hosts' own addresses.
        cidr: Network of the hosts; None if no bridge has an address.
        gateway: Its default gateway; None if there is none.
        dns: Name servers of the hosts.
        vm_storages: Storages with content `images` on every host.
        image_storages: Storages with content `import` on every host.
        unusable_gpus: One line for each GPU that cannot be used, with the reason.
    """

    hosts: tuple[DiscoveredHost, ...]
    bridge: str
    cidr: IPv4Network | None
    gateway: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    vm_storages: tuple[str, ...]
    image_storages: tuple[str, ...]
    unusable_gpus: tuple[str, ...]


def read_inventory(api: ProxmoxApi) -> ProxmoxInventory:
    """Reads the inventory of every host that is online.

    Raises:
        PveError: Proxmox refused a request; listing hardware needs Sys.Audit on `/`.
    """
    names = sorted(entry["node"] for entry in api.call("GET", "nodes") if entry.get("status") == "online")
    if not names:
        raise PveError("Proxmox lists no host that is online: check the privileges of the user or token")
    storages = [api.call("GET", f"nodes/{name}/storage") for name in names]
    vm_storages, image_storages = _common_storages(storages, "images"), _common_storages(storages, "import")
    hosts, unusable = [], []
    network: tuple[str, IPv4Network | None, IPv4Address | None] = ("vmbr0", None, None)
    for name, held in zip(names, storages, strict=True):
        status = api.call("GET", f"nodes/{name}/status")
        bridge, interface, gateway = _node_bridge(api.call("GET", f"nodes/{name}/network"))
        if interface and network[1] is None:
            network = (bridge, interface.network, gateway)
        cards, problems = _find_gpus(name, api.call("GET", f"nodes/{name}/hardware/pci"))
        unusable += problems
        disk = next((int(entry["total"]) // MIB for entry in held if entry["storage"] in vm_storages[:1]), 0)
        memory, cpus = int(status["memory"]["total"]) // MIB, int(status["cpuinfo"]["cpus"])
        hosts.append(DiscoveredHost(name, interface.ip if interface else None, cpus, memory, disk, cards))
    resolver = api.call("GET", f"nodes/{names[0]}/dns")
    servers = tuple(IPv4Address(resolver[key]) for key in ("dns1", "dns2", "dns3") if resolver.get(key))
    return ProxmoxInventory(tuple(hosts), *network, servers, vm_storages, image_storages, tuple(unusable))


def _common_storages(storages: Sequence[Sequence[dict[str, Any]]], content: str) -> tuple[str, ...]:
    """Storages with a kind of content on every host, the largest first."""
    total: dict[str, int] = {}
    counts: dict[str, int] = {}
    for held in storages:
        for entry in held:
            if content in str(entry.get("content", "")).split(","):
                total[entry["storage"]] = total.get(entry["storage"], 0) + int(entry.get("total", 0))
                counts[entry["storage"]] = counts.get(entry["storage"], 0) + 1
    return tuple(
        sorted((name for name, count in counts.items() if count == len(storages)), key=lambda name: -total[name])
    )


def _node_bridge(interfaces: Sequence[dict[str, Any]]) -> tuple[str, IPv4Interface | None, IPv4Address | None]:
    bridges = sorted(
        (entry for entry in interfaces if entry.get("type") == "bridge"), key=lambda entry: str(entry["iface"])
    )
    for entry in sorted(bridges, key=lambda entry: "gateway" not in entry):
        if cidr := entry.get("cidr"):
            gateway = entry.get("gateway")
            return str(entry["iface"]), IPv4Interface(cidr), IPv4Address(gateway) if gateway else None
    return (str(bridges[0]["iface"]) if bridges else "vmbr0"), None, None


def _find_gpus(host: str, devices: Sequence[dict[str, Any]]) -> tuple[tuple[DiscoveredGpu, ...], list[str]]:
    found, problems = [], []
    for device in devices:
        vendor, kind = _pci_id(device["vendor"]), _pci_id(device["device"])
        if vendor != NVIDIA_VENDOR or not str(device.get("class", "")).startswith(DISPLAY_CLASS):
            continue
        name = str(device.get("device_name", "a GPU"))
        subsystem = f"{_pci_id(device.get('subsystem_vendor', vendor))}:{_pci_id(device.get('subsystem_device', kind))}"
        card = DiscoveredGpu(
            gpu_model(f"{vendor}:{kind}"), name, str(device["id"]), int(device.get("iommugroup", -1)), subsystem
        )
        found.append(card)
        if card.model is None:
            problems.append(
                f"{host}: {name} at {card.pci} ({vendor}:{kind}) is not a GPU that Lyceum supports; skipped"
            )
        elif card.iommu_group < 0:
            problems.append(f"{host}: the IOMMU is off, so {name} at {card.pci} cannot be passed through; skipped")
    return tuple(found), problems


def _pci_id(value: object) -> str:
    return str(value).removeprefix("0x").lower()
