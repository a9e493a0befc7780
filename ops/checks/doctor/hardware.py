"""Cards, IOMMU groups, mappings, memory, storage, VMIDs: what the preflight asks, and what it leaves out."""

from collections.abc import Iterator

from components.proxmox.client import PveError
from config.base import MIB, format_size
from config.hosts import Node
from config.proxmox_grants import setup_commands
from config.site import Site
from ops.checks.doctor.finding import Finding, fault, ok, unknown
from ops.checks.preflight.checks import problems
from ops.checks.preflight.facts import ask
from ops.clients.proxmox import Api


def hardware(pve: Api, site: Site, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    """Every machine's cards, memory, disks and VMID."""
    facts = ask(pve, {node.host for node in nodes}, site.proxmox.pool)
    found = problems(site, nodes, facts)
    for problem in found:
        cause, _, remedy = problem.text.rpartition("; ")
        if not cause:
            cause, remedy = problem.text, "correct the site file, or the host"
        if "PCI mapping" in cause and (command := _mapping_command(site, cause)):
            remedy = command
        yield fault("hardware", cause, remedy) if problem.fatal else unknown("hardware", cause, remedy)
    seen = [host for host in facts.hosts.values() if host.pci is not None]
    if any(node.gpus for node in nodes) and len(seen) < len(facts.hosts):
        cause = "the token may not list PCI devices (Sys.Audit on /); mappings were held against the hardware instead"
        yield unknown("iommu", cause, f"`./lyceum doctor {site.name} --user root@pam` also looks at IOMMU groups")
    elif not found and seen:
        yield ok("iommu", "every card is where the file says, and alone in its IOMMU group")
    if not found:
        cards = sum(len(node.gpus) for node in nodes)
        yield ok("hardware", f"{cards} card(s), memory and disks of {len(nodes)} machine(s) are there")
    if facts.pool:
        yield from _numbers(pve, nodes, set(facts.vms))


def _mapping_command(site: Site, cause: str) -> str | None:
    name = cause.partition(":")[0]
    return next((line for line in setup_commands(site) if f" lyceum-{name} " in line), None)


def _numbers(pve: Api, nodes: tuple[Node, ...], visible: set[int]) -> Iterator[Finding]:
    """VMIDs that the token does not see may still be somebody's."""
    wrong = 0
    for node in nodes:
        if node.vm_id in visible:
            continue
        try:
            pve.call("GET", "cluster/nextid", vmid=str(node.vm_id))
        except PveError as error:
            if "already exists" not in str(error):
                raise
            wrong += 1
            yield fault("vmid", f"{node.name}: VMID {node.vm_id} belongs to a VM of somebody else", "set `vm-id`")
    if not wrong:
        yield ok("vmid", "every VMID is ours or free")


def image(pve: Api, site: Site, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    """Every host reaches the node image and has room for it."""
    wrong = 0
    proxmox = site.proxmox
    hosts = list(dict.fromkeys(node.host for node in nodes))
    for host in hosts:
        try:
            found = pve.call("GET", f"nodes/{host}/query-url-metadata", url=str(proxmox.image.url))
        except PveError as error:
            if ": 403 " in str(error):
                raise
            wrong += 1
            remedy = f"on {host}: `curl -I {proxmox.image.url}`; correct `proxmox.image.url`, the proxy or the CA"
            yield fault("image", f"{host} cannot fetch the node image: {error}", remedy)
            continue
        storage = {entry["storage"]: entry for entry in pve.call("GET", f"nodes/{host}/storage")}
        size = int(found.get("size") or 0) // MIB
        room = int(storage.get(proxmox.image_storage, {}).get("avail", 0)) // MIB
        if proxmox.image_storage in storage and room < size:
            wrong += 1
            cause = f"{proxmox.image_storage} of {host} has {format_size(room or 1)} free; the image has {format_size(size)}"
            yield fault("image", cause, f"on {host}: `pvesm list {proxmox.image_storage}`, and remove what is old")
    if not wrong:
        yield ok("image", f"{len(hosts)} host(s) reach the node image")
