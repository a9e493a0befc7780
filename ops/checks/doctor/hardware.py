"""Cards, IOMMU groups, mappings, memory, storage and VMIDs: the preflight's checks, and what it leaves out."""

from collections.abc import Iterator

from components.proxmox.client import PveError
from config.base import MIB, format_size
from config.finding import Finding
from config.hosts import Node
from config.site import Site
from ops.checks.doctor.finding import failed, passed, unknown
from ops.checks.preflight.checks import check_machines
from ops.checks.preflight.facts import gather_facts
from ops.clients.proxmox import ProxmoxApi


def check_hardware(pve: ProxmoxApi, site: Site, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    """Every machine's cards, memory, disks and VMID."""
    facts = gather_facts(pve, {node.host for node in nodes}, site.proxmox.pool)
    found = check_machines(site, nodes, facts)
    for one in found:
        rule, remedy = f"{one.subject_text}: {one.rule}", one.remedy or "correct the site file, or the host"
        yield Finding("hardware", rule, remedy, one.severity)
    seen = [host for host in facts.hosts.values() if host.pci is not None]
    if any(node.gpus for node in nodes) and len(seen) < len(facts.hosts):
        cause = (
            "the token may not list PCI devices (Sys.Audit on /); Proxmox compared mappings with the hardware instead"
        )
        yield unknown("iommu", cause, f"`./lyceum doctor {site.name} --user root@pam` also checks IOMMU groups")
    elif not found and seen:
        yield passed("iommu", "every card is where the site file says, and alone in its IOMMU group")
    if not found:
        cards = sum(len(node.gpus) for node in nodes)
        yield passed("hardware", f"{cards} card(s), memory and disks of {len(nodes)} machine(s) are available")
    if facts.pool:
        yield from _check_vm_ids(pve, nodes, set(facts.vms))


def _check_vm_ids(pve: ProxmoxApi, nodes: tuple[Node, ...], visible: set[int]) -> Iterator[Finding]:
    """A VMID that the token does not see may still belong to another VM."""
    wrong = 0
    for node in nodes:
        if node.vm_id in visible:
            continue
        try:
            pve.call("GET", "cluster/nextid", vmid=str(node.vm_id))
        except PveError as error:
            if "already exists" not in error.reason:
                raise
            wrong += 1
            yield failed("vmid", f"{node.name}: VMID {node.vm_id} belongs to another VM", "set `vm-id`")
    if not wrong:
        yield passed("vmid", "every VMID is free or belongs to this stack")


def check_image(pve: ProxmoxApi, site: Site, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    """Every host reaches the node image and has room for it."""
    wrong = 0
    proxmox = site.proxmox
    hosts = list(dict.fromkeys(node.host for node in nodes))
    for host in hosts:
        try:
            found = pve.call("GET", f"nodes/{host}/query-url-metadata", url=str(proxmox.image.url))
        except PveError as error:
            if error.status == 403:
                raise
            wrong += 1
            remedy = f"on {host}: `curl -I {proxmox.image.url}`; correct `proxmox.image.url`, the proxy or the CA"
            yield failed("image", f"{host} cannot fetch the node image: {error}", remedy)
            continue
        storage = {entry["storage"]: entry for entry in pve.call("GET", f"nodes/{host}/storage")}
        size = int(found.get("size") or 0) // MIB
        room = int(storage.get(proxmox.image_storage, {}).get("avail", 0)) // MIB
        if proxmox.image_storage in storage and room < size:
            wrong += 1
            cause = f"{proxmox.image_storage} of {host} has {format_size(room or 1)} free; the image has {format_size(size)}"
            yield failed("image", cause, f"on {host}: `pvesm list {proxmox.image_storage}`, and remove old volumes")
    if not wrong:
        yield passed("image", f"{len(hosts)} host(s) reach the node image")
