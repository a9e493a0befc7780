"""PCI devices of the nodes, resource mappings, and which device a starting VM gets. Pure functions."""

from collections.abc import Iterable, Mapping

from lab.contracts import PciDevice, PveNode
from lab.proxmox import propstring
from lab.proxmox.errors import ApiError

_HIDDEN = ("05", "06", "0b")
"""Classes that `hardware/pci` leaves out: memory controllers, bridges, processors."""


def list_devices(node: PveNode) -> list[dict[str, str | int]]:
    """The answer of `hardware/pci`."""
    return [
        {
            "id": device.address,
            "class": f"0x{device.class_id}",
            "vendor": f"0x{device.vendor}",
            "device": f"0x{device.device}",
            "device_name": device.name,
            "subsystem_vendor": f"0x{device.subsystem_vendor}",
            "subsystem_device": f"0x{device.subsystem_device}",
            "iommugroup": device.iommu_group,
        }
        for device in node.pci
        if not device.class_id.startswith(_HIDDEN)
    ]


def find_devices(node: PveNode, path: str) -> tuple[PciDevice, ...]:
    """The functions that a path names: `0000:41:00.0` one, `0000:41:00` all of the slot, several by semicolons."""
    wanted = path.split(";")
    return tuple(
        device
        for device in node.pci
        if any(device.address == one or device.address.startswith(one + ".") for one in wanted)
    )


def check_mapping(node: PveNode, entry: str) -> str | None:
    """Why an entry no longer fits the hardware, in one sentence; None when it does."""
    _value, options = propstring.parse(entry)
    path = options.get("path", "")
    devices = find_devices(node, path)
    if not devices:
        return f"pci device '{path}' not found"
    first = devices[0]
    actual = {
        "id": f"{first.vendor}:{first.device}",
        "iommugroup": str(first.iommu_group),
        "subsystem-id": f"{first.subsystem_vendor}:{first.subsystem_device}",
    }
    for key, value in actual.items():
        configured = options.get(key)
        # Subsystem ids may be left out; the group is part of every entry of Proxmox VE 8 and later.
        if configured is None and key != "iommugroup":
            continue
        if configured != value:
            return f"'{key}' does not match for '{path}' ({value} != {configured or 'not set'})"
    return None


def assign_devices(
    node: PveNode, wanted: Mapping[int, str], mappings: Mapping[str, Iterable[str]], held: Mapping[str, int]
) -> list[PciDevice]:
    """Choose the devices of a VM that starts, in the order of its `hostpciN` options.

    `wanted` has their texts by number, `mappings` the entries by name, `held` the VM that has a device by its address.

    Raises:
        ApiError: No mapping, hardware that changed, or no free device; the message names the holder.
    """
    chosen: list[PciDevice] = []
    taken = {address: f"already in use by VMID '{holder}'" for address, holder in held.items()}
    for number, text in wanted.items():
        host, options = propstring.parse(text, default_key="host")
        if name := options.get("mapping"):
            alternatives, label = _mapping_paths(node, name, mappings), f"PCI device mapping '{name}'"
        else:
            alternatives, label = [host], f"PCI device '{host}'"
        devices = _pick_free(node, f"{label}: could not find a free device for 'hostpci{number}'", alternatives, taken)
        taken |= {device.address: "given to this VM already" for device in devices}
        chosen += devices
    return chosen


def _mapping_paths(node: PveNode, name: str, mappings: Mapping[str, Iterable[str]]) -> list[str]:
    entries = [propstring.parse(entry)[1] | {"": entry} for entry in mappings.get(name, ())]
    local = [entry for entry in entries if entry.get("node") == node.name]
    if not local:
        raise ApiError(500, f"PCI device mapping not found for '{name}'")
    for entry in local:
        if complaint := check_mapping(node, entry[""]):
            raise ApiError(500, f"PCI device mapping invalid (hardware probably changed): {complaint}")
    return [entry["path"] for entry in local]


def _pick_free(node: PveNode, failure: str, alternatives: list[str], taken: Mapping[str, str]) -> tuple[PciDevice, ...]:
    """The devices of the first alternative of which none is taken."""
    busy: list[str] = []
    for path in alternatives:
        devices = find_devices(node, path)
        if not devices:
            raise ApiError(500, f"no PCI device found for '{path}'")
        conflicts = [device.address for device in devices if device.address in taken]
        if not conflicts:
            return devices
        busy += [f"PCI device '{address}' {taken[address]}" for address in conflicts]
    raise ApiError(500, f"{failure}: {'; '.join(busy)}")


def group_conflict(node: PveNode, devices: Iterable[PciDevice]) -> str | None:
    """Why VFIO would refuse the devices: something else of their IOMMU group stays with the host or another VM.

    Bridges do not count, nor do further functions of the same card (its audio or USB controller), which nothing on a
    headless node claims.
    """
    given = tuple(devices)
    addresses = {device.address for device in given}
    slots = {device.address.rpartition(".")[0] for device in given}
    groups = {device.iommu_group: device for device in given if device.iommu_group >= 0}
    for other in node.pci:
        mine = other.address in addresses or other.address.rpartition(".")[0] in slots
        if other.iommu_group in groups and not mine and not other.class_id.startswith("06"):
            device = groups[other.iommu_group]
            return (
                f"vfio {device.address}: group {device.iommu_group} is not viable: "
                f"it also holds {other.address} ({other.name})"
            )
    return None
