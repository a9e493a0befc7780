"""The campus that is to be simulated: derived from a site's file, or read back from a running lab."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from config.errors import LyceumError
from config.gpus import Gpu
from config.hosts import Role
from config.layers import page_host, page_hosts
from config.proxmox_grants import calls_after_token, calls_before_token
from config.site import Site
from lab.contracts import AdminSetup, LabSpec, LoginSpec, PciDevice, Person, PveNode, Storage, StoreSpec
from lab.real_pods import missing_programs
from lab.rundir import PROJECT

HTTPS = 443
REAL_NODES = 4
"""All workers of the lab's own site: a Service of a DaemonSet would send every second request to a simulated pod. Each costs
about 170 MiB once it exists."""
LOGIN_HOST_NUMBER = 4
"""Place of the identity provider in the site's network, after gateway, mirror and store."""
IMAGE_STORAGE_GIB = 200
"""Room for images and snippets on each node."""


class SpecError(LyceumError):
    """The site cannot be simulated as it is; the text names the field and the remedy."""


@dataclass(frozen=True)
class CampusRequest:
    """What `lab up` was asked for."""

    spec: LabSpec
    charts: Path | None = None
    """Directory of real chart archives, instead of the stand-ins."""


_REQUEST = TypeAdapter(CampusRequest)


def dump_request(request: CampusRequest) -> bytes:
    """As JSON."""
    return _REQUEST.dump_json(request, indent=1)


def load_request(data: bytes) -> CampusRequest:
    """The inverse of `dump_request`."""
    return _REQUEST.validate_json(data)


def choose_real_nodes(site: Site, asked: str | None) -> tuple[str, ...]:
    """The VMs in which pods really run.

    Asked for are names with commas, `none`, or None for the first GPU workers, on which people's work runs.

    Raises:
        SpecError: the site has no node of that name, or this machine lacks programs that were asked for by name.
    """
    nodes = {node.name: node for node in site.machines if node.role in {Role.SERVER, Role.WORKER, Role.STORAGE}}
    if asked is None:
        workers = [name for name, node in nodes.items() if node.role is Role.WORKER and node.gpus]
        return tuple(workers[:REAL_NODES])
    names = tuple(name for name in asked.split(",") if name and name != "none")
    if unknown := [name for name in names if name not in nodes]:
        raise SpecError(f"--real: {site.name} has no node {', '.join(unknown)}; it has: {', '.join(nodes)}")
    if names and (lacking := missing_programs(PROJECT / ".toolchain")):
        raise SpecError(f"--real: this machine lacks {', '.join(lacking)}. Remedy: make lab-programs")
    return names


def spec_from_site(site: Site, name: str, real_nodes: tuple[str, ...] = ()) -> LabSpec:
    """The campus of a site: its hosts with their cards, its network, and what its Proxmox administrator sets up once.

    Raises:
        SpecError: a host has no address for its Proxmox API.
    """
    nodes = []
    for host in site.hosts_by_name.values():
        if host.address is None:
            raise SpecError(
                f"{site.name}: hosts: {host.name}: the lab serves Proxmox at each host; give it an `address`"
            )
        nodes.append(
            PveNode(
                name=host.name,
                address=str(host.address),
                cpus=host.cpus,
                memory_mib=host.memory,
                pci=tuple(to_pci_device(gpu) for gpu in host.gpus),
                storages=_storages(site, host.disk // 1024),
                bridges=(site.network.bridge,),
                disk_gib=host.disk // 1024,
            )
        )
    return LabSpec(
        name=name,
        cidr=site.network.cidr,
        gateway=site.network.gateway,
        nodes=tuple(nodes),
        mirror=mirror_address(site),
        setup=AdminSetup(calls_before_token(site), calls_after_token(site)),
        store=store_spec(site),
        real_nodes=real_nodes,
        login=login_spec(site),
        pages=page_addresses(site),
    )


def to_pci_device(gpu: Gpu) -> PciDevice:
    """A card as `hardware/pci` shows it."""
    vendor, device = gpu.card.id.split(":")
    sub_vendor, sub_device = (gpu.subsystem or gpu.card.id).split(":")
    return PciDevice(
        address=gpu.pci,
        vendor=vendor,
        device=device,
        subsystem_vendor=sub_vendor,
        subsystem_device=sub_device,
        iommu_group=gpu.iommu_group,
        class_id="030200",
        name=gpu.card.product.replace("-", " "),
    )


def store_spec(site: Site) -> StoreSpec | None:
    """The object store of the site's backups; served where its endpoint is an address of the campus, else not."""
    s3 = site.platform.backup.s3
    where = urlsplit(s3.endpoint) if s3 else None
    try:
        address = IPv4Address((where and where.hostname) or "")
    except ValueError:
        return None
    if s3 is None or where is None or address not in site.network.cidr:
        return None
    return StoreSpec(address, where.port or HTTPS, s3.bucket, s3.region)


def login_spec(site: Site) -> LoginSpec | None:
    """The site's identity provider, where its issuer is `https://<name below the site's domain>`; else None."""
    provider = site.identity.oidc
    where = urlsplit(str(provider.issuer)) if provider else None
    if provider is None or where is None or where.hostname is None or where.path.strip("/"):
        return None
    if not site.workspaces.jupyterhub.enabled:
        return None  # nobody would be sent there
    if not where.hostname.endswith(f".{site.domain}"):
        return None
    return LoginSpec(
        address=site.network.cidr.network_address + LOGIN_HOST_NUMBER,
        host=where.hostname,
        client=provider.client_id,
        page=f"https://{page_host(site, 'jupyterhub')}",
        domain=site.domain,
        people=people_of(site),
    )


def people_of(site: Site) -> tuple[Person, ...]:
    """One person for each way of being known to the hub, named after it."""
    hub = site.workspaces.jupyterhub
    allowed = hub.allowed_groups[:1]
    return (
        Person("student", "A student", allowed),
        Person("researcher", "A researcher with GPUs", (*allowed, *hub.gpu_groups[:1])),
        Person("admin", "An administrator", hub.admin_groups[:1]),
        Person("guest", "A guest without groups", ()),
    )


def page_addresses(site: Site) -> tuple[tuple[str, IPv4Address], ...]:
    """Every page's host name, with the address of the ingress."""
    ingress = site.network.ingress_address or site.network.load_balancers.first
    return tuple((f"{label}.{site.domain}", ingress) for _, _, label in page_hosts(site))


def mirror_address(site: Site) -> IPv4Address:
    """Where the lab's mirror answers: the address in `charts` if there is one, else the network's second."""
    host = urlsplit(site.charts).hostname if site.charts != "upstream" else None
    try:
        return IPv4Address(host or "")
    except ValueError:
        return site.network.cidr.network_address + 2


def _storages(site: Site, size_gib: int) -> tuple[Storage, ...]:
    """A thin pool for disks, and a directory for everything else, as Proxmox's installer makes them."""
    return (
        Storage(site.proxmox.vm_storage, "lvmthin", ("images", "rootdir"), size_gib),
        Storage(site.proxmox.image_storage, "dir", ("import", "iso", "vztmpl", "snippets"), IMAGE_STORAGE_GIB),
    )
