"""Proposes a first site file. Pure: the inventory of a Proxmox cluster and a few answers in, a document out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from config.base import format_size
from config.gpus import CARDS

GIB = 1024
RESERVE = 4 * GIB
"""MiB that the hypervisor keeps; the default of `hosts[].reserve`."""
_NUMBERED = re.compile(r"(.*?)(\d+)$")


@dataclass(frozen=True, slots=True)
class DiscoveredGpu:
    """A GPU that Proxmox reports.

    Attributes:
        model: Its name in `config.gpus.CARDS`; None for a model that Lyceum does not know.
        name: Its name in Proxmox.
        pci: Its PCI address.
        iommu_group: Its IOMMU group; -1 where the IOMMU is off.
        subsystem: Subsystem vendor and device.
    """

    model: str | None
    name: str
    pci: str
    iommu_group: int
    subsystem: str


@dataclass(frozen=True, slots=True)
class DiscoveredHost:
    """A host that Proxmox reports.

    Attributes:
        name: Node name.
        address: Its own address; None if unknown.
        cpus: Threads.
        memory: MiB.
        disk: MiB of the storage for VM disks.
        gpus: Its GPUs.
    """

    name: str
    address: IPv4Address | None
    cpus: int
    memory: int
    disk: int
    gpus: tuple[DiscoveredGpu, ...]


@dataclass(frozen=True, slots=True)
class SiteAnswers:
    """Answers that Proxmox cannot give.

    Attributes:
        name: Name of the site.
        title: Display name.
        domain: DNS domain of its pages.
        endpoint: Proxmox API.
        image: URL of the node image.
        cidr: Network of the nodes.
        gateway: Default gateway.
        dns: Name servers.
        bridge: Bridge that nodes are attached to.
        vm_storage: Storage of VM disks.
        image_storage: Storage of images.
        groups: Who may log in.
        issuer: OIDC provider; None for Authentik on the cluster.
        nfs: `server:/share` for home directories; None for Ceph on the workers' disks.
        ca_file: CA of the API.
        vlan: VLAN of the nodes.
    """

    name: str
    title: str
    domain: str
    endpoint: str
    image: str
    cidr: IPv4Network
    gateway: IPv4Address
    dns: tuple[IPv4Address, ...]
    bridge: str = "vmbr0"
    vm_storage: str = "local-lvm"
    image_storage: str = "local"
    groups: tuple[str, ...] = ("students",)
    issuer: str | None = None
    nfs: str | None = None
    ca_file: str | None = None
    vlan: int | None = None


def gpu_model(identity: str) -> str | None:
    """Name of a GPU model by its PCI ID; None for an unknown one."""
    return next((name for name, card in CARDS.items() if card.id == identity), None)


def propose_site(hosts: Sequence[DiscoveredHost], answers: SiteAnswers) -> dict[str, Any]:
    """A first site: three servers, on different hosts if possible; a worker on each host with GPUs; addresses for Services.

    Raises:
        ValueError: there is no valid proposal; the text says why.
    """
    with_gpus = [host for host in hosts if any(gpu.model and gpu.iommu_group >= 0 for gpu in host.gpus)]
    if not with_gpus:
        raise ValueError(
            "no host has a GPU that Lyceum knows in an IOMMU group; see `./lyceum doctor`, docs/real-proxmox.md"
        )
    # Servers go where no GPUs are, so that a busy worker does not slow down etcd.
    quiet = sorted(hosts, key=lambda host: (host in with_gpus, hosts.index(host)))
    carriers = [quiet[index % len(quiet)] for index in range(3)]
    network = answers.cidr
    taken = {answers.gateway, *answers.dns, *(host.address for host in hosts if host.address)}
    start = next((host.address for host in hosts if host.address and host.address in network), network.network_address)
    block = IPv4Address(int(start) & ~0xFF) if network.prefixlen <= 24 else network.network_address
    api, *servers = _find_free_addresses(network, taken, block + 30, 1 + len(carriers))
    pool = _find_free_addresses(network, taken | {api, *servers}, block + 50, min(11, network.num_addresses // 8))
    workers = _find_free_addresses(network, taken | {api, *servers, *pool}, block + 101, len(with_gpus))
    shapes, nodes = _propose_machines(with_gpus, carriers, servers, workers, ceph=answers.nfs is None)
    return {
        "name": answers.name,
        "title": answers.title,
        "domain": answers.domain,
        "proxmox": _given_settings(
            endpoint=answers.endpoint,
            ca_file=answers.ca_file,
            vm_storage=answers.vm_storage,
            image_storage=answers.image_storage,
            image={"url": answers.image},
        ),
        "network": _given_settings(
            cidr=str(network),
            gateway=str(answers.gateway),
            dns=[str(server) for server in answers.dns],
            vlan=answers.vlan,
            bridge=answers.bridge,
            api_address=str(api),
            load_balancers=f"{pool[0]}-{pool[-1]}",
        ),
        "shapes": shapes,
        "hosts": host_entries(hosts),
        "nodes": nodes,
        "platform": {"storage": _propose_storage(answers, len(with_gpus))},
        "identity": {"oidc": {"issuer": answers.issuer, "client-id": "lyceum"}}
        if answers.issuer
        else {"authentik": {"enabled": True}},
        "workspaces": {"jupyterhub": {"allowed-groups": list(answers.groups), "gpu-groups": list(answers.groups)}},
    }


def _given_settings(**values: Any) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in values.items() if value is not None}


def _find_free_addresses(
    network: IPv4Network, taken: Iterable[IPv4Address | None], start: IPv4Address, count: int
) -> list[IPv4Address]:
    """Consecutive free addresses, searched from `start` and then from the network's first address."""
    used = {*taken, network.network_address, network.broadcast_address}
    first, last = int(network.network_address), int(network.broadcast_address)
    for origin in (int(start), first):
        for low in range(max(origin, first), last - count + 2):
            run = [IPv4Address(low + step) for step in range(count)]
            if not used.intersection(run):
                return run
    raise ValueError(f"{network} has no {count} free addresses in a row")


def _propose_storage(answers: SiteAnswers, machines: int) -> dict[str, Any]:
    if answers.nfs:
        server, _, share = answers.nfs.partition(":")
        return {"ceph": {"enabled": False}, "nfs": {"server": server, "share": share}}
    pool: dict[str, Any] = {"replicas": min(3, machines)}
    if machines == 1:
        pool["accept-data-loss"] = True
    return {"ceph": {"pool": pool, "monitors": 3 if machines > 1 else 1}}


def _propose_machines(
    with_gpus: Sequence[DiscoveredHost],
    carriers: Sequence[DiscoveredHost],
    servers: Sequence[IPv4Address],
    workers: Sequence[IPv4Address],
    *,
    ceph: bool,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    server = {"cores": 4, "memory": 8 * GIB, "disk": 60 * GIB}
    shapes: dict[str, dict[str, int]] = {"server": server}
    nodes: list[dict[str, Any]] = [
        {"name": f"server-{number}", "role": "server", "host": host.name, "shape": "server", "address": str(address)}
        for number, (host, address) in enumerate(zip(carriers, servers, strict=True), start=1)
    ]
    width = len(str(len(with_gpus)))
    for number, (host, address) in enumerate(zip(with_gpus, workers, strict=True), start=1):
        beside = sum(carrier is host for carrier in carriers)
        shape = _worker_shape(host, beside, server, ceph=ceph)
        name = next((known for known, sizes in shapes.items() if sizes == shape), None)
        if name is None:
            name = "gpu" if "gpu" not in shapes else f"gpu-{len(shapes)}"
            shapes[name] = shape
        entry = {"name": f"gpu-{number:0{width}d}", "role": "worker", "host": host.name, "shape": name}
        nodes.append(entry | {"address": str(address)} | _chosen_gpus(host))
    texts = {
        name: {key: value if key == "cores" else format_size(value) for key, value in shape.items()}
        for name, shape in shapes.items()
    }
    return texts, collapse_entries(nodes)


def _chosen_gpus(host: DiscoveredHost) -> dict[str, list[int]]:
    """Indexes of the GPUs of a worker: all of one model, the most frequent one of the host."""
    models = [gpu.model for gpu in host.gpus if gpu.model and gpu.iommu_group >= 0]
    if len(set(models)) < 2:
        return {}
    chosen = max(models, key=models.count)
    return {"gpus": [index for index, model in enumerate(models) if model == chosen]}


def _worker_shape(host: DiscoveredHost, beside: int, server: dict[str, int], *, ceph: bool) -> dict[str, int]:
    """Shape of a worker with everything that the servers on its host leave."""
    memory = (host.memory - RESERVE - beside * server["memory"]) // GIB
    disk = (host.disk - beside * server["disk"]) // GIB
    if memory < 8 or disk < 80:
        raise ValueError(
            f"{host.name} has {max(memory, 0)} GiB of memory and {max(disk, 0)} GiB of disk left: too little"
        )
    shape = {
        "cores": max(host.cpus - beside * server["cores"], 2),
        "memory": memory * GIB,
        "disk": min(200, disk // 2) * GIB,
    }
    if ceph:
        shape["ceph"] = min(500, disk // 3) * GIB
    return shape


def host_entries(hosts: Sequence[DiscoveredHost]) -> list[dict[str, Any]]:
    """Entries of `hosts` in a site file."""
    return collapse_entries([_host_entry(host) for host in hosts])


def collapse_entries(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merges four or more consecutive equal entries into one: `ws-01` to `ws-40` become `ws-[01-40]`."""
    found: list[dict[str, Any]] = []
    rest = list(entries)
    while rest:
        run = 1
        while run < len(rest) and _follows_in_series(rest[run - 1], rest[run]):
            run += 1
        run = run if run >= 4 else 1
        first, last = rest[0], rest[run - 1]
        found.append(
            {key: _range_pattern(first[key], last[key]) if key in COUNTING_KEYS else first[key] for key in first}
        )
        rest = rest[run:]
    return found


COUNTING_KEYS = ("name", "host", "address")
"""Keys that count up from one machine to the next; all others must be equal."""


def _follows_in_series(one: dict[str, Any], two: dict[str, Any]) -> bool:
    if one.keys() != two.keys() or not _is_next_number(one["name"], two["name"]):
        return False
    return all(_is_next_number(one[key], two[key]) if key in COUNTING_KEYS else one[key] == two[key] for key in one)


def _is_next_number(one: str, two: str) -> bool:
    first, second = _NUMBERED.fullmatch(one), _NUMBERED.fullmatch(two)
    if not first or not second or first[1] != second[1]:
        return False
    padded = first[2].startswith("0") or second[2].startswith("0")
    return int(second[2]) == int(first[2]) + 1 and (not padded or len(first[2]) == len(second[2]))


def _range_pattern(first: str, last: str) -> str:
    low, high = _NUMBERED.fullmatch(first), _NUMBERED.fullmatch(last)
    return first if first == last or not low or not high else f"{low[1]}[{low[2]}-{high[2]}]"


def _host_entry(host: DiscoveredHost) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": host.name,
        **({"address": str(host.address)} if host.address else {}),
        "cpus": host.cpus,
        "memory": format_size(host.memory // GIB * GIB),
        "disk": format_size(host.disk // GIB * GIB),
    }
    cards = [gpu_entry(gpu) for gpu in host.gpus if gpu.model and gpu.iommu_group >= 0]
    return entry | ({"gpus": cards} if cards else {})


def gpu_entry(gpu: DiscoveredGpu) -> dict[str, Any]:
    """Entry of `hosts[].gpus` in a site file."""
    return {"model": gpu.model, "pci": gpu.pci, "iommu-group": gpu.iommu_group, "subsystem": gpu.subsystem}
