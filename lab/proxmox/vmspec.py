"""From a VM's configuration to what the hypervisor boots. Pure functions."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from lab.contracts import Disk, Nic, PciDevice, VmSpec
from lab.proxmox import propstring, vmconfig
from lab.proxmox.propstring import GIB, split_list

_DEFAULT_MEMORY = 512
"""MiB that Proxmox VE gives a VM that names no memory."""


def memory_mib(config: dict[str, str | int]) -> int:
    """Memory of a VM in MiB; the option may also be written `current=<MiB>`."""
    return int(str(config.get("memory", _DEFAULT_MEMORY)).removeprefix("current="))


def agent_enabled(config: dict[str, str | int]) -> bool:
    """Whether the guest agent's channel is there."""
    value, _options = propstring.parse(str(config.get("agent", "")), default_key="enabled")
    return value == "1"


def build_vm_spec(vmid: int, node: str, config: dict[str, str | int], gpus: Iterable[PciDevice]) -> VmSpec:
    """The machine that a stored configuration describes, with the devices chosen for its `hostpciN` options."""
    return VmSpec(
        vmid=vmid,
        name=str(config.get("name", f"VM{vmid}")),
        node=node,
        cores=int(config.get("cores", 1)) * int(config.get("sockets", 1)),
        memory_mib=memory_mib(config),
        nics=_read_nics(config),
        dns=tuple(split_list(str(config.get("nameserver", "")))),
        search=str(config.get("searchdomain", "")),
        user=str(config.get("ciuser", "")),
        ssh_keys=tuple(line.strip() for line in unquote(str(config.get("sshkeys", ""))).splitlines() if line.strip()),
        disks=_read_disks(config),
        gpus=tuple(gpus),
        agent=agent_enabled(config),
    )


def _read_nics(config: dict[str, str | int]) -> tuple[Nic, ...]:
    addresses = vmconfig.numbered_options(config, "ipconfig")
    nics = []
    for number, text in vmconfig.numbered_options(config, "net").items():
        _value, card = propstring.parse(text)
        _value, given = propstring.parse(addresses.get(number, ""))
        address = given.get("ip")
        mac = re.search(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}", text)
        nics.append(
            Nic(
                mac=mac[0].lower() if mac else "",
                bridge=card.get("bridge", ""),
                vlan=int(card["tag"]) if "tag" in card else None,
                # No DHCP server runs on the campus: such a card stays without an address.
                address=None if address in (None, "dhcp") else address,
                gateway=given.get("gw"),
            )
        )
    return tuple(nics)


def _read_disks(config: dict[str, str | int]) -> tuple[Disk, ...]:
    _value, boot = propstring.parse(str(config.get("boot", "")))
    order = boot.get("order", "").split(";")
    disks = []
    for key, text in vmconfig.list_drives(config).items():
        if not re.match(r"ide|sata|scsi|virtio", key) or vmconfig.is_cdrom(text):
            continue
        _value, options = propstring.parse(text)
        size = propstring.parse_size(options.get("size", "0"))
        disks.append(Disk(interface=key, size_gib=size // GIB, serial=options.get("serial"), boot=key in order))
    return tuple(sorted(disks, key=lambda disk: disk.interface))
