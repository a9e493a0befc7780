"""What is wrong before anything is created. Pure: facts and settings in, one line a problem out."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from config.base import MIB_PER_GIB, format_size
from config.gpus import Gpu
from config.hosts import Mappings, Node
from config.site import Site
from ops.checks.preflight.facts import Entry, Facts, HostFacts, PciMapping
from ops.engine.pulumi_state import Vm

BRIDGE_CLASS = "0x06"
_SIZE = re.compile(r"size=(\d+)([MGT])")
_UNITS = {"M": 1, "G": 1024, "T": 1024 * 1024}


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        text: What is wrong, with its remedy.
        fatal: Whether `up` must not begin; otherwise it is said and left to whoever reads it.
    """

    text: str
    fatal: bool = True


def problems(site: Site, nodes: tuple[Node, ...], facts: Facts) -> list[Problem]:
    """Everything that is wrong with the machines that shall exist."""
    if not facts.pool:
        text = (
            f"the token does not see the pool {site.proxmox.pool}: grant it Pool.Audit on /pool/{site.proxmox.pool}, "
        )
        return [Problem(text + "or run `./lyceum proxmox prepare` as the administrator")]
    found: list[Problem] = []
    by_host = defaultdict(list)
    for node in nodes:
        by_host[node.host].append(node)
    for name, own in by_host.items():
        host = facts.hosts[name]
        if host.trouble:
            found.append(Problem(f"{name} {host.trouble}; it carries {', '.join(node.name for node in own)}"))
            continue
        found += [*_memory(site, host, own, facts), *_storages(site, host, own, facts)]
        for node in own:
            found += [*_cards(site, host, node, facts), *_machine(node, facts)]
    return found


def lost(stack: str, nodes: tuple[Node, ...], known: Mapping[str, Vm], facts: Facts) -> list[Problem]:
    """Machines of the engine's state that somebody deleted in Proxmox: the engine would take them for what they were.

    They are never made anew by themselves: whoever deleted one may still have its disks, or have meant it.
    """
    return [
        Problem(
            f"{node.name}: its VM {known[node.name].vm_id} is gone from Proxmox. ./lyceum node replace {stack} {node.name} "
            f"makes it anew, with empty disks; ./lyceum node remove {stack} {node.name} lets it go",
            fatal=False,
        )
        for node in nodes
        if facts.pool and node.name in known and known[node.name].vm_id not in facts.vms
    ]


def _memory(site: Site, host: HostFacts, own: list[Node], facts: Facts) -> Iterator[Problem]:
    """Passthrough pins all memory of a machine, so it must be there, beside what others run on the host."""
    if host.memory_mib is None:
        return
    ids = {node.vm_id for node in own}
    others = [vm for vmid, vm in facts.vms.items() if vm["node"] == host.name and vmid not in ids and _runs(vm)]
    taken = sum(int(vm["maxmem"]) for vm in others) // MIB_PER_GIB**2
    # Machines that take turns on one host never run together.
    shifts = {shift: sum(node.shape.memory for node in own if node.shift is shift) for shift in {n.shift for n in own}}
    always = sum(size for shift, size in shifts.items() if shift == "always")
    need = always + max((size for shift, size in shifts.items() if shift != "always"), default=0)
    free = host.memory_mib - site.hosts_by_name[host.name].reserve - taken
    if need > free:
        largest = max(own, key=lambda node: node.shape.memory)
        beside = f", {format_size(taken)} held by {', '.join(sorted(vm['name'] for vm in others))}" if others else ""
        yield Problem(
            f"{host.name}: {', '.join(node.name for node in own)} ask {format_size(need)} of memory, {format_size(max(free, 0))} "
            f"can be had ({format_size(host.memory_mib)} less the reserve{beside}); largest: {largest.name}"
        )


def _runs(vm: Entry) -> bool:
    return vm.get("status") == "running"


def _storages(site: Site, host: HostFacts, own: list[Node], facts: Facts) -> Iterator[Problem]:
    """The storages exist, hold what they must, and have room for the machines that do not exist yet."""
    for name, content in ((site.proxmox.vm_storage, "images"), (site.proxmox.image_storage, "import")):
        storage = host.storages.get(name)
        if storage is None or content not in str(storage.get("content", "")).split(","):
            fitting = sorted(one for one, entry in host.storages.items() if content in str(entry["content"]).split(","))
            there = f"; there: {', '.join(fitting)}" if fitting else "; none there does"
            yield Problem(f"{host.name} has no storage `{name}` that holds `{content}`{there}")
            return
    if site.hosts_by_name[host.name].thin:
        return
    new = [node for node in own if node.vm_id not in facts.vms]
    need = sum(size for node in new for size in (node.shape.disk, node.shape.scratch or 0, node.shape.ceph or 0))
    avail = int(host.storages[site.proxmox.vm_storage].get("avail", 0)) // MIB_PER_GIB**2
    if need > avail:
        yield Problem(
            f"{host.name}: `{site.proxmox.vm_storage}` has {avail // MIB_PER_GIB} GiB free, and "
            f"{', '.join(node.name for node in new)} need {need // MIB_PER_GIB} GiB; free some, or set `thin: true`"
        )


def _cards(site: Site, host: HostFacts, node: Node, facts: Facts) -> Iterator[Problem]:
    """The cards are there, are what the file says, are alone in their groups, and nobody else has them."""
    if not node.gpus:
        return
    if site.proxmox.mappings is Mappings.EXISTING:
        yield from _mapping(host, node)
    if host.pci is not None:
        for gpu in node.gpus:
            yield from _device(host, node, gpu)
    wanted = {gpu.pci for gpu in node.gpus}
    for vmid, config in facts.configs.items():
        vm = facts.vms[vmid]
        other = vmid != node.vm_id and vm["node"] == host.name and _runs(vm)
        if other and (held := sorted(wanted & _held_paths(config, host))):
            cards = ", ".join(held)
            yield Problem(f"{node.name}: {cards} is held by the running VM {vmid} `{vm['name']}`; a card has one owner")


def _held_paths(config: Entry, host: HostFacts) -> set[str]:
    """Addresses of the devices that a VM holds through mappings."""
    found: set[str] = set()
    for key, value in config.items():
        if key.startswith("hostpci") and (match := re.search(r"mapping=([^,]+)", str(value))):
            used = host.mappings.get(match[1])
            found |= {entry["path"] for entry in used.entries} if used else set()
    return found


def _mapping(host: HostFacts, node: Node) -> Iterator[Problem]:
    known = host.mappings.get(node.mapping)
    if known is None or not known.entries:
        yield Problem(
            f"{node.name}: there is no PCI mapping `{node.mapping}` on {host.name}, or the token lacks Mapping.Use on "
            f"/mapping/pci/{node.mapping}; `./lyceum proxmox prepare` makes it"
        )
        return
    for complaint in known.complaints:
        yield Problem(
            f"{node.name}: mapping `{node.mapping}`: {complaint}; the card moved or was exchanged: prepare anew"
        )
    yield from _same_cards(known, node)


def _same_cards(known: PciMapping, node: Node) -> Iterator[Problem]:
    mapped = {entry["path"]: entry for entry in known.entries}
    wanted = {gpu.pci: gpu for gpu in node.gpus}
    if mapped.keys() != wanted.keys():
        yield Problem(
            f"{node.name}: mapping `{known.name}` holds {', '.join(sorted(mapped))}, and the site's file says "
            f"{', '.join(sorted(wanted))}; correct the one that is wrong"
        )
    for path in mapped.keys() & wanted.keys():
        entry, gpu = mapped[path], wanted[path]
        missing = [key for key in ("iommugroup", "subsystem-id") if key not in entry]
        if missing:
            yield Problem(f"{node.name}: mapping `{known.name}` lacks {' and '.join(missing)} of {path}: prepare anew")
        if entry["id"] != gpu.card.id:
            yield Problem(
                f"{node.name}: {path} is {entry['id']} in mapping `{known.name}`, not {gpu.card.id} ({gpu.card.product})"
            )


def _device(host: HostFacts, node: Node, gpu: Gpu) -> Iterator[Problem]:
    devices = {str(device["id"]): device for device in host.pci or ()}
    device = devices.get(gpu.pci)
    if device is None:
        yield Problem(
            f"{node.name}: {host.name} has no PCI device at {gpu.pci}; `lspci -D` on it shows where the card is"
        )
        return
    identity = f"{_hex(device['vendor'])}:{_hex(device['device'])}"
    if identity != gpu.card.id:
        name = device.get("device_name", "another device")
        yield Problem(
            f"{node.name}: {gpu.pci} of {host.name} is {identity} ({name}), not {gpu.card.id} ({gpu.card.product})"
        )
    group = int(device.get("iommugroup", -1))
    if group < 0:
        yield Problem(
            f"{node.name}: {host.name} has no IOMMU group for {gpu.pci}; switch the IOMMU on in its firmware and kernel"
        )
        return
    # Further functions of the same card (its audio) go with it; bridges count for nothing.
    slot = gpu.pci.rpartition(".")[0]
    shared = [
        f"{other['id']} ({other.get('device_name', 'unknown')})"
        for other in devices.values()
        if int(other.get("iommugroup", -1)) == group
        and not str(other["id"]).startswith(slot)
        and not str(other.get("class", "")).startswith(BRIDGE_CLASS)
        and str(other["id"]) not in {card.pci for card in node.gpus}
    ]
    if shared:
        yield Problem(
            f"{node.name}: IOMMU group {group} of {gpu.pci} also holds {', '.join(shared)}; put the card into another slot"
        )


def _hex(value: object) -> str:
    return str(value).removeprefix("0x").lower()


def _machine(node: Node, facts: Facts) -> Iterator[Problem]:
    """A VMID is ours or free; what exists may grow, and whoever changed it by hand is told."""
    vm = facts.vms.get(node.vm_id)
    if vm is None:
        return
    if vm.get("name") != node.name or "lyceum" not in str(vm.get("tags", "")).split(";"):
        yield Problem(
            f"{node.name}: VMID {node.vm_id} belongs to `{vm.get('name')}` on {vm['node']}; give it another `vm-id`"
        )
        return
    config = facts.configs.get(node.vm_id)
    if config is not None:
        yield from _changes(node, config)


def _changes(node: Node, config: Entry) -> Iterator[Problem]:
    sizes = [size for size in (node.shape.disk, node.shape.scratch, node.shape.ceph) if size]
    grows = False
    for index, size in enumerate(sizes):
        have = disk_mib(str(config.get(f"scsi{index}", "")))
        if have is not None and have > size:
            yield Problem(
                f"{node.name}: scsi{index} cannot shrink from {format_size(have)} to {format_size(size)}; keep the size, or "
                f"replace the machine: ./lyceum node replace {node.name}"
            )
        grows = grows or (have is not None and have < size)
    cores, memory = int(config.get("cores", 1)), int(str(config.get("memory", 0)).partition(",")[0])
    resized = (cores, memory) != (node.shape.cores, node.shape.memory)
    if resized and grows:
        text = (
            f"{node.name}: memory or cores cannot change together with a disk; bring in the disk first, then the rest"
        )
        yield Problem(text)
    elif resized:
        yield Problem(
            f"{node.name} has {cores} cores and {format_size(memory)}, and shall have {node.shape.cores} and "
            f"{format_size(node.shape.memory)}; it takes effect when the machine is next switched off and on",
            fatal=False,
        )
    cards = sum(key.startswith("hostpci") for key in config)
    if cards < len(node.gpus):
        yield Problem(
            f"{node.name} has {cards} of its {len(node.gpus)} GPUs: somebody detached one in Proxmox", fatal=False
        )


def disk_mib(text: str) -> int | None:
    """Size of a disk from Proxmox's text, `local-lvm:vm-100-disk-0,size=200G`; None without one."""
    match = _SIZE.search(text)
    return int(match[1]) * _UNITS[match[2]] if match else None
