"""How Proxmox VE rewrites what a client sends as VM configuration. Pure functions.

Read-back must be normalised exactly so, or every plan of the provider shows a change that is none: new volumes get
their name and size, cloud-init drives become CD-ROMs of 4 MiB, network cards lead with model and MAC, tags are sorted.
"""

import re
from dataclasses import dataclass

from lab.proxmox import propstring
from lab.proxmox.errors import bad_parameter
from lab.proxmox.propstring import GIB, MIB

CLOUDINIT_SIZE = 4 * MIB
"""Size of a cloud-init drive."""

_FIRMWARE_SIZE = {"efidisk0": 4 * MIB, "tpmstate0": 4 * MIB}
"""Firmware state volumes have their own size whatever is asked for: 528 KiB to 4 MiB, shown as 4M with efitype 4m."""

_DRIVE = re.compile(r"(ide[0-3]|sata[0-5]|scsi\d+|virtio\d+|efidisk0|tpmstate0|unused\d+)")
_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3")
_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")

_NUMBERS = frozenset(
    {"acpi", "autostart", "balloon", "ciupgrade", "cores", "cpuunits", "freeze", "keephugepages", "kvm", "localtime"}
    | {"migrate_speed", "numa", "onboot", "protection", "reboot", "shares", "sockets", "tablet", "tdf", "template"}
    | {"vcpus"}
)
"""Options that the API returns as JSON numbers; the provider reads a quoted `"1"` as false."""

_LIVE = re.compile(
    r"net\d+|unused\d+|(?:ide|sata|scsi|virtio)\d+|name|description|tags|onboot|protection|startup|autostart|boot|"
    r"shares|cpuunits|cpulimit|migrate_speed|migrate_downtime|hookscript|lock|ci\w+|ipconfig\d+|sshkeys|nameserver|"
    r"searchdomain|template"
)
"""Options that act on a running machine or do not concern it: hot-plugged (network, disk) or read by the host only."""


@dataclass(frozen=True)
class NoMedia:
    """An empty CD-ROM drive (`none`) or the host's own (`cdrom`)."""

    source: str


@dataclass(frozen=True)
class CloudInit:
    """A cloud-init drive to make."""

    storage: str
    format: str


@dataclass(frozen=True)
class NewDisk:
    """A volume to make, empty or filled from an image."""

    storage: str
    size: int
    format: str
    import_from: str | None


@dataclass(frozen=True)
class Existing:
    """A volume that is already there."""

    volume: str


DriveRequest = NoMedia | CloudInit | NewDisk | Existing


def is_drive(key: str) -> bool:
    """Whether an option names a drive."""
    return _DRIVE.fullmatch(key) is not None


def is_live(key: str) -> bool:
    """Whether a change of the option takes effect without a restart of the machine."""
    return _LIVE.fullmatch(key) is not None


def parse_drive(key: str, text: str) -> tuple[DriveRequest, dict[str, str]]:
    """Read a drive option; returns what is asked for and the options to keep.

    `local-lvm:32,iothread=1`, `local-lvm:0,import-from=local:import/x.qcow2`, `local-lvm:cloudinit`,
    `none,media=cdrom`, or a volume that exists.
    """
    source, options = propstring.parse(text)
    image = options.pop("import-from", None)
    form = options.pop("format", "raw")
    options.pop("size", None)
    if source in ("none", "cdrom"):
        return NoMedia(source), options
    storage, colon, name = source.partition(":")
    if not colon:
        raise bad_parameter(key, f"unable to parse volume ID '{source}'")
    if name == "cloudinit":
        return CloudInit(storage, form), options
    if re.fullmatch(r"\d+(\.\d+)?", name):
        if image and float(name) != 0:
            raise bad_parameter(key, "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>")
        return NewDisk(storage, _FIRMWARE_SIZE.get(key, int(float(name) * GIB)), form, image), options
    return Existing(source), options


def render_drive(source: str, options: dict[str, str], size: int | None) -> str:
    """The stored form of a drive: source, sorted options, size last unless it has none."""
    shown = propstring.join(source, options)
    return shown if size is None else f"{shown},size={propstring.render_size(size)}"


def volume_of(text: str) -> str | None:
    """The volume of a stored drive, None for an empty one."""
    source, _options = propstring.parse(text)
    return source if ":" in source else None


def is_cdrom(text: str) -> bool:
    """Whether a drive (sent or stored) is a CD-ROM; cloud-init drives are."""
    source, options = propstring.parse(text)
    return options.get("media") == "cdrom" or source in ("none", "cdrom") or source.endswith(":cloudinit")


def list_drives(config: dict[str, str | int]) -> dict[str, str]:
    """The drives of a configuration, unused ones included."""
    return {key: str(value) for key, value in config.items() if is_drive(key)}


def numbered_options(config: dict[str, str | int], prefix: str) -> dict[int, str]:
    """Options like `net0`, `net1` by number, in order."""
    found = {
        int(match[1]): str(value) for key, value in config.items() if (match := re.fullmatch(prefix + r"(\d+)", key))
    }
    return dict(sorted(found.items()))


def render_network_card(key: str, text: str, previous: str | None, fresh_mac: str) -> str:
    """The stored form of a network card: `virtio=<MAC>,bridge=...`; sent may be `model=..,macaddr=..` as well.

    Without a MAC the card keeps that of the stored card, or gets the fresh one.
    """
    leading, options = propstring.parse(text, default_key="model")
    model = leading or next((name for name in _MODELS if name in options), "")
    if model not in _MODELS:
        raise bad_parameter(key, f"invalid format - model: one of {', '.join(_MODELS)}")
    mac = options.pop(model, "") or options.pop("macaddr", "")
    options.pop("macaddr", None)
    if not mac:
        known = _MAC.search(previous or "")
        mac = known[0] if known else fresh_mac
    if not _MAC.fullmatch(mac):
        raise bad_parameter(key, f"invalid format - macaddr: '{mac}' does not look like a valid unicast MAC address")
    return propstring.join("", {model: mac.upper()}) + ("," + propstring.join("", options) if options else "")


def normalise_tags(text: str) -> str:
    """Tags in lower case, each once, sorted, joined by semicolons."""
    return ";".join(sorted({tag.lower() for tag in propstring.split_list(text)}))


def normalise_option(key: str, text: str) -> str | int | None:
    """Any other option; numbers become numbers, an empty text removes the option."""
    if text == "":
        return None
    if key in _NUMBERS:
        try:
            return int(float(text))
        except ValueError:
            raise bad_parameter(key, f"type check ('integer') failed - got '{text}'") from None
    return normalise_tags(text) if key == "tags" else text
