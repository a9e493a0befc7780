"""What is wrong before anything is created. Pure: facts and settings in, findings about hosts and machines out."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from config.base import MIB_PER_GIB, format_size
from config.finding import Finding, Severity
from config.gpus import Gpu
from config.hosts import Mappings, Node
from config.proxmox_grants import setup_commands
from config.site import Site
from ops.checks.preflight.facts import Entry, Facts, HostFacts, PciMapping
from ops.engine.pulumi_state import Vm

BRIDGE_CLASS = "0x06"
PREPARE_AGAIN = "run `./lyceum proxmox prepare` again"
_SIZE = re.compile(r"size=(\d+)([MGT])")
_UNITS = {"M": 1, "G": 1024, "T": 1024 * 1024}


def check_machines(site: Site, nodes: tuple[Node, ...], facts: Facts) -> list[Finding]:
    """Everything that is wrong with the machines of a stage and with the hosts that carry them."""
    if not facts.pool:
        pool = site.proxmox.pool
        remedy = f"grant it Pool.Audit on /pool/{pool}, or run `./lyceum proxmox prepare` as the administrator"
        return [Finding("token", f"does not see the pool {pool}", remedy)]
    found: list[Finding] = []
    by_host = defaultdict(list)
    for node in nodes:
        by_host[node.host].append(node)
    for name, own in by_host.items():
        host = facts.hosts[name]
        if host.problem:
            carried = ", ".join(node.name for node in own)
            found.append(Finding(name, f"{host.problem}; the site places {carried} there", host.remedy))
            continue
        found += [*_memory(site, host, own, facts), *_storages(site, host, own, facts)]
        for node in own:
            found += [*_cards(site, host, node, facts), *_machine(node, facts)]
    return found


def find_deleted_vms(stack: str, nodes: tuple[Node, ...], known: Mapping[str, Vm], facts: Facts) -> list[Finding]:
    """VMs in the engine's state that were deleted in Proxmox by hand; the engine would assume that they still exist.

    They are never created again automatically: whoever deleted one may still have its disks, or have intended it.
    """
    return [
        Finding(
            node.name,
            f"was deleted in Proxmox (VM {known[node.name].vm_id})",
            f"./lyceum node replace {stack} {node.name} creates it with empty disks; "
            f"./lyceum node remove {stack} {node.name} removes it from the stack",
            Severity.WARNING,
        )
        for node in nodes
        if facts.pool and node.name in known and known[node.name].vm_id not in facts.vms
    ]


def _memory(site: Site, host: HostFacts, own: list[Node], facts: Facts) -> Iterator[Finding]:
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
        used = f", {format_size(taken)} used by {', '.join(sorted(vm['name'] for vm in others))}" if others else ""
        yield Finding(
            host.name,
            f"has {format_size(max(free, 0))} of memory for machines ({format_size(host.memory_mib)} less the reserve{used}); "
            f"{', '.join(node.name for node in own)} need {format_size(need)}",
            f"make the largest smaller, {largest.name}, or place it on another host",
        )


def _runs(vm: Entry) -> bool:
    return vm.get("status") == "running"


def _storages(site: Site, host: HostFacts, own: list[Node], facts: Facts) -> Iterator[Finding]:
    """The storages exist, hold what they must, and have room for the machines that do not exist yet."""
    for name, content in ((site.proxmox.vm_storage, "images"), (site.proxmox.image_storage, "import")):
        storage = host.storages.get(name)
        if storage is None or content not in str(storage.get("content", "")).split(","):
            fitting = sorted(one for one, entry in host.storages.items() if content in str(entry["content"]).split(","))
            remedy = f"storages that do: {', '.join(fitting)}" if fitting else "no storage of the host does; add one"
            yield Finding(host.name, f"has no storage `{name}` that holds `{content}`", remedy)
            return
    if site.hosts_by_name[host.name].thin:
        return
    new = [node for node in own if node.vm_id not in facts.vms]
    need = sum(size for node in new for size in (node.shape.disk, node.shape.scratch or 0, node.shape.ceph or 0))
    avail = int(host.storages[site.proxmox.vm_storage].get("avail", 0)) // MIB_PER_GIB**2
    if need > avail:
        yield Finding(
            host.name,
            f"has {avail // MIB_PER_GIB} GiB free on `{site.proxmox.vm_storage}`, and "
            f"{', '.join(node.name for node in new)} need {need // MIB_PER_GIB} GiB",
            "free some, or set `thin: true`",
        )


def _cards(site: Site, host: HostFacts, node: Node, facts: Facts) -> Iterator[Finding]:
    """The cards are there, are what the file says, are alone in their groups, and nobody else has them."""
    if not node.gpus:
        return
    if site.proxmox.mappings is Mappings.EXISTING:
        yield from _mapping(site, host, node)
    if host.pci is not None:
        for gpu in node.gpus:
            yield from _device(host, node, gpu)
    wanted = {gpu.pci for gpu in node.gpus}
    for vmid, config in facts.configs.items():
        vm = facts.vms[vmid]
        other = vmid != node.vm_id and vm["node"] == host.name and _runs(vm)
        if other and (held := sorted(wanted & _held_paths(config, host))):
            rule = f"needs {', '.join(held)}, which the running VM {vmid} `{vm['name']}` uses"
            yield Finding(node.name, rule, "a card has one owner: stop that VM, or give the machine another card")


def _held_paths(config: Entry, host: HostFacts) -> set[str]:
    """Addresses of the devices that a VM holds through mappings."""
    found: set[str] = set()
    for key, value in config.items():
        if key.startswith("hostpci") and (match := re.search(r"mapping=([^,]+)", str(value))):
            used = host.mappings.get(match[1])
            found |= {entry["path"] for entry in used.entries} if used else set()
    return found


def _mapping(site: Site, host: HostFacts, node: Node) -> Iterator[Finding]:
    known = host.mappings.get(node.mapping)
    if known is None or not known.entries:
        rule = f"has no PCI mapping `{node.mapping}` on {host.name}, or the token lacks Mapping.Use on it"
        yield Finding(node.name, rule, _mapping_command(site, node))
        return
    for complaint in known.complaints:
        rule = f"has a card that its mapping `{node.mapping}` does not describe: {complaint}"
        yield Finding(node.name, rule, f"the card was moved or exchanged: {PREPARE_AGAIN}")
    yield from _same_cards(known, node)


def _mapping_command(site: Site, node: Node) -> str:
    """The administrator's command that creates a machine's mapping."""
    option = f" --id {node.mapping} "
    return next((line for line in setup_commands(site) if option in line), "./lyceum proxmox prepare")


def _same_cards(known: PciMapping, node: Node) -> Iterator[Finding]:
    mapped = {entry["path"]: entry for entry in known.entries}
    wanted = {gpu.pci: gpu for gpu in node.gpus}
    if mapped.keys() != wanted.keys():
        rule = f"has {', '.join(sorted(mapped))} in its mapping `{known.name}`, and {', '.join(sorted(wanted))} in the site file"
        yield Finding(node.name, rule, "correct the one that is wrong")
    for path in mapped.keys() & wanted.keys():
        entry, gpu = mapped[path], wanted[path]
        missing = [key for key in ("iommugroup", "subsystem-id") if key not in entry]
        if missing:
            yield Finding(
                node.name, f"lacks {' and '.join(missing)} of {path} in its mapping `{known.name}`", PREPARE_AGAIN
            )
        if entry["id"] != gpu.card.id:
            rule = f"has {entry['id']} at {path} in its mapping `{known.name}`, not {gpu.card.id} ({gpu.card.product})"
            yield Finding(node.name, rule, "correct the one that is wrong")


def _device(host: HostFacts, node: Node, gpu: Gpu) -> Iterator[Finding]:
    devices = {str(device["id"]): device for device in host.pci or ()}
    device = devices.get(gpu.pci)
    if device is None:
        rule = f"needs a PCI device at {gpu.pci}, and {host.name} has none there"
        yield Finding(node.name, rule, f"`lspci -D` on {host.name} shows where the card is")
        return
    identity = f"{_hex(device['vendor'])}:{_hex(device['device'])}"
    if identity != gpu.card.id:
        name = device.get("device_name", "another device")
        rule = f"has {identity} ({name}) at {gpu.pci} of {host.name}, not {gpu.card.id} ({gpu.card.product})"
        yield Finding(node.name, rule, "correct the card or its address in the site file")
    group = int(device.get("iommugroup", -1))
    if group < 0:
        rule = f"needs an IOMMU group for {gpu.pci}, and {host.name} has none"
        yield Finding(node.name, rule, "switch the IOMMU on in its firmware and kernel")
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
        rule = f"shares IOMMU group {group} of {gpu.pci} with {', '.join(shared)}"
        yield Finding(node.name, rule, "put the card into another slot")


def _hex(value: object) -> str:
    return str(value).removeprefix("0x").lower()


def _machine(node: Node, facts: Facts) -> Iterator[Finding]:
    """The VMID is ours or free, and what exists can be changed to what the site file says; manual changes are reported."""
    vm = facts.vms.get(node.vm_id)
    if vm is None:
        return
    if vm.get("name") != node.name or "lyceum" not in str(vm.get("tags", "")).split(";"):
        rule = f"has VMID {node.vm_id}, which belongs to `{vm.get('name')}` on {vm['node']}"
        yield Finding(node.name, rule, "give it another `vm-id`")
        return
    config = facts.configs.get(node.vm_id)
    if config is not None:
        yield from _changes(node, config)


def _changes(node: Node, config: Entry) -> Iterator[Finding]:
    sizes = [size for size in (node.shape.disk, node.shape.scratch, node.shape.ceph) if size]
    grows = False
    for index, size in enumerate(sizes):
        have = disk_mib(str(config.get(f"scsi{index}", "")))
        if have is not None and have > size:
            rule = f"has a disk scsi{index} of {format_size(have)}, which cannot shrink to {format_size(size)}"
            yield Finding(node.name, rule, "keep the size, or replace the machine: ./lyceum node replace")
        grows = grows or (have is not None and have < size)
    cores, memory = int(config.get("cores", 1)), int(str(config.get("memory", 0)).partition(",")[0])
    resized = (cores, memory) != (node.shape.cores, node.shape.memory)
    if resized and grows:
        rule = "cannot change memory or cores together with a disk"
        yield Finding(node.name, rule, "change the disk first, then the rest")
    elif resized:
        rule = (
            f"has {cores} cores and {format_size(memory)}; the site file has {node.shape.cores} and "
            f"{format_size(node.shape.memory)}"
        )
        yield Finding(node.name, rule, "takes effect when the machine is next switched off and on", Severity.WARNING)
    cards = sum(key.startswith("hostpci") for key in config)
    if cards < len(node.gpus):
        rule = f"has {cards} of its {len(node.gpus)} GPUs"
        yield Finding(node.name, rule, "one was detached in Proxmox: attach it again there", Severity.WARNING)


def disk_mib(text: str) -> int | None:
    """Size of a disk from Proxmox's text, `local-lvm:vm-100-disk-0,size=200G`; None without one."""
    match = _SIZE.search(text)
    return int(match[1]) * _UNITS[match[2]] if match else None
