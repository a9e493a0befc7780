"""What Proxmox reports about the machines of a site: a few calls per host, all hosts in parallel."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from components.proxmox.client import Pve, PveError
from config.base import MIB

AT_ONCE = 16
"""Calls in parallel; Proxmox has three API worker processes per node."""
Entry = dict[str, Any]
_T = TypeVar("_T")


@dataclass(frozen=True)
class PciMapping:
    """A PCI mapping, as far as it concerns one host.

    Attributes:
        name: Its name.
        entries: Its devices on the host: keys `id`, `path`, `iommugroup`, `subsystem-id`.
        complaints: What Proxmox finds wrong when it compares the mapping with the host's hardware.
    """

    name: str
    entries: tuple[Mapping[str, str], ...]
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostFacts:
    """One Proxmox node.

    Attributes:
        name: Its name.
        memory_mib: Its memory; None where the token may not see it.
        mappings: PCI mappings with devices on it, by name.
        pci: Its PCI devices; None where the token may not see them (Proxmox asks Sys.Audit on `/`).
        storages: Its storages, by name: `content`, `avail` in bytes.
        problem: Why nothing is known of it, as a predicate: `is offline`; empty if it answered.
        remedy: What to do about that.
    """

    name: str
    memory_mib: int | None = None
    mappings: Mapping[str, PciMapping] = field(default_factory=dict)
    pci: tuple[Entry, ...] | None = None
    storages: Mapping[str, Entry] = field(default_factory=dict)
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Facts:
    """The answers.

    Attributes:
        hosts: The hosts of the machines, by name.
        vms: Every VM that the token sees, by VMID.
        configs: Configuration of the VMs that carry our tag, by VMID.
        pool: Whether the token sees the pool; without it, empty lists mean nothing.
    """

    hosts: Mapping[str, HostFacts]
    vms: Mapping[int, Entry]
    configs: Mapping[int, Entry]
    pool: bool


def gather_facts(pve: Pve, hosts: Iterable[str], pool: str) -> Facts:
    """Asks Proxmox.

    Raises:
        PveError: it does not answer, or refuses the token.
    """
    pools = {entry["poolid"] for entry in pve.call("GET", "pools")}
    resources = pve.call("GET", "cluster/resources")
    online = {entry["node"]: entry.get("status") for entry in resources if entry["type"] == "node"}
    vms = {int(entry["vmid"]): entry for entry in resources if entry["type"] == "qemu"}
    ours = [vm for vm in vms.values() if "lyceum" in str(vm.get("tags", "")).split(";")]
    with ThreadPoolExecutor(AT_ONCE) as workers:
        asked = workers.map(lambda name: _host(pve, name, online.get(name)), sorted(set(hosts)))
        configs = workers.map(lambda vm: (int(vm["vmid"]), _config(pve, vm)), ours)
        found = {host.name: host for host in asked}
        return Facts(found, vms, {vmid: config for vmid, config in configs if config is not None}, pool in pools)


def _config(pve: Pve, vm: Entry) -> Entry | None:
    path = f"nodes/{vm['node']}/qemu/{vm['vmid']}/config"
    config: Entry | None = _unless_forbidden(lambda: pve.call("GET", path))
    return config


def _host(pve: Pve, name: str, status: str | None) -> HostFacts:
    if status is None:
        return HostFacts(
            name, problem="is not a node of this Proxmox cluster", remedy="correct `hosts` in the site file"
        )
    if status != "online":
        return HostFacts(name, problem=f"is {status}", remedy="switch it on; `pvecm status` on another node")
    try:
        memory = _unless_forbidden(lambda: pve.call("GET", f"nodes/{name}/status")["memory"]["total"])
        mappings = pve.call("GET", "cluster/mapping/pci", **{"check-node": name})
        devices = _unless_forbidden(lambda: pve.call("GET", f"nodes/{name}/hardware/pci"))
        storages = pve.call("GET", f"nodes/{name}/storage")
    except PveError as error:
        return HostFacts(name, problem=f"does not answer: {error.message}", remedy=error.remedy)
    return HostFacts(
        name,
        memory_mib=None if memory is None else int(memory) // MIB,
        mappings={entry["id"]: parse_mapping(entry, name) for entry in mappings},
        pci=None if devices is None else tuple(devices),
        storages={entry["storage"]: entry for entry in storages},
    )


def _unless_forbidden(call: Callable[[], _T]) -> _T | None:
    """The answer, or None where the token may not ask."""
    try:
        return call()
    except PveError as error:
        if error.status == 403:
            return None
        raise


def parse_mapping(entry: Entry, host: str) -> PciMapping:
    """Reads one mapping: its lines are property strings, `id=10de:20f1,node=pve1,path=0000:41:00.0`."""
    lines = [dict(part.split("=", 1) for part in line.split(",") if "=" in part) for line in entry.get("map", [])]
    complaints = [check["message"] for check in entry.get("checks") or [] if check["severity"] == "error"]
    return PciMapping(entry["id"], tuple(line for line in lines if line.get("node") == host), tuple(complaints))
