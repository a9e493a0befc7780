"""Privileges that depend on what is asked of a VM: by option class, storage, bridge and mapping.

The classes are those of `check_vm_modify_config_perm`, `check_storage_access`, `check_hostpci_perm` and
`check_bridge_access` in qemu-server of 2026-08-17, `check_volume_access` in pve-storage of 2026-07-24.
"""

import re
from collections.abc import Iterable

from lab.proxmox import propstring, vmconfig
from lab.proxmox.call import Call, Identity
from lab.proxmox.errors import ApiError
from lab.proxmox.privileges import Access
from lab.proxmox.vmconfig import Existing, NewDisk, NoMedia
from lab.proxmox.volumes import split_volume

NOT_OPTIONS = frozenset(
    {"archive", "background_delay", "bwlimit", "delete", "digest", "force", "ha-managed", "import-working-storage"}
    | {"live-restore", "node", "pool", "revert", "skiplock", "start", "storage", "unique", "vmid"}
)
"""Parameters of create and update that are not configuration."""

_CLASSES: tuple[tuple[str, str], ...] = (
    ("VM.Config.CPU", r"cores|cpu|cpulimit|cpuunits|numa|smp|sockets|vcpus|numa\d+"),
    ("VM.Config.Memory", r"memory|balloon|shares|allow-ksm"),
    ("VM.Config.HWType", r"acpi|hotplug|kvm|machine|scsihw|smbios1|tablet|vga|watchdog|audio0|rng0"),
    ("VM.Config.Options", r"agent|autostart|bios|description|keyboard|localtime|name|onboot|ostype|protection|reboot"),
    ("VM.Config.Options", r"migrate_downtime|migrate_speed|startdate|startup|tdf|template|tags"),
    ("VM.PowerMgmt", r"freeze"),
    ("VM.Config.Disk", r"boot|bootdisk|vmstatestorage"),
    ("VM.Config.Network", r"net\d+"),
    (
        "VM.Config.Cloudinit|VM.Config.Network",
        r"cicustom|cipassword|citype|ciuser|ciupgrade|nameserver|searchdomain|sshkeys|ipconfig\d+",
    ),
)
_BY_VALUE = re.compile(r"(?:serial|hostpci)\d+")


def privilege_of(option: str) -> str | None:
    """The privilege that changing an option asks for; alternatives joined by `|`; None when only root may."""
    return next((privilege for privilege, names in _CLASSES if re.fullmatch(names, option)), None)


def check_volume_access(  # noqa: PLR0917  # the question has six parts
    access: Access, who: Identity, volume: str, owner: int | None, vmid: int | None, content: str
) -> None:
    """Raise `ApiError` unless `who` may use a volume that belongs to VM `owner` for VM `vmid`.

    `content` says what it is: `images`, `import`, `iso`, ...
    """
    storage = f"/storage/{split_volume(volume)[0]}"
    if access.has(who, storage, "Datastore.Allocate"):
        return
    if content in ("iso", "vztmpl", "import"):
        access.require(who, storage, "Datastore.AllocateSpace", "Datastore.Audit", any_of=True)
    elif owner is not None and owner == vmid:
        return
    elif content == "images" and owner is not None:
        access.require(who, storage, "Datastore.Audit")
        access.require(who, f"/vms/{owner}", "VM.Config.Disk")
    else:
        # Snippets and volumes without an owner: only Datastore.Allocate reaches them.
        raise ApiError(500, f"missing privileges to access {volume}")


class VmAccess:
    """Checks one call that creates or changes a VM; the pool that it is created in counts like the VM itself."""

    def __init__(self, access: Access, call: Call, vmid: int, pool: str | None = None) -> None:
        self._access = access
        self._who = call.identity
        self._vmid = vmid
        self._pool = pool

    def check_options(self, options: Iterable[str]) -> None:
        """The privilege of each option's class; raises `ApiError` 403, or 500 for what only root may set."""
        if self._who.is_root:
            return
        for option in options:
            if vmconfig.is_drive(option) or _BY_VALUE.fullmatch(option):
                continue
            privilege = privilege_of(option)
            if privilege is None:
                raise ApiError(500, f"only root can set '{option}' config")
            self._need(*privilege.split("|"), any_of=True)
            if option == "startup":  # it orders the boot of the whole host
                self._access.require(self._who, "/", "Sys.Modify")

    def check_value(self, option: str, value: str) -> None:
        """What the value of an option asks for: mappings, storages, bridges, real devices."""
        if option == "cicustom" and self._who.is_root:
            raise ApiError(501, "the lab's cloud-init reads no snippets: `cicustom` is not implemented")
        if vmconfig.is_drive(option):
            self._check_drive(option, value)
        elif self._who.is_root:
            return
        elif option.startswith("hostpci"):
            self._check_device(option, value)
        elif re.fullmatch(r"serial\d+", option):
            if value != "socket":
                raise ApiError(500, f"only root can set '{option}' config for real devices")
            self._need("VM.Config.HWType")
        elif re.fullmatch(r"net\d+", option):
            self._check_bridge(value)
        elif option == "cicustom":
            _value, options = propstring.parse(value)
            for snippet in options.values():
                check_volume_access(self._access, self._who, snippet, None, self._vmid, "snippets")

    def check_drive_change(self, value: str) -> None:
        """Changing or removing a drive of a VM that exists."""
        self._need("VM.Config.CDROM" if vmconfig.is_cdrom(value) else "VM.Config.Disk")

    def _need(self, *privileges: str, any_of: bool = False) -> None:
        self._access.require_vm(self._who, self._vmid, self._pool, *privileges, any_of=any_of)

    def _check_device(self, option: str, value: str) -> None:
        host, options = propstring.parse(value, default_key="host")
        if host:
            raise ApiError(500, f"only root can set '{option}' config for non-mapped devices")
        if "mapping" not in options:
            raise ApiError(500, "either 'host' or 'mapping' must be set.")
        self._access.require(self._who, f"/mapping/pci/{options['mapping']}", "Mapping.Use")
        self._need("VM.Config.HWType")
        if "romfile" in options:
            raise ApiError(400, "Parameter verification failed.", {option: "only root@pam can set 'romfile' option"})

    def _check_drive(self, option: str, value: str) -> None:
        request, _options = vmconfig.parse_drive(option, value)
        match request:
            case NoMedia("cdrom"):  # the host's own drive
                self._access.require(self._who, "/", "Sys.Console")
            case NewDisk(storage, _size, _format, image):
                self._access.require(self._who, f"/storage/{storage}", "Datastore.AllocateSpace")
                if image:
                    self._check_volume(image)
            case Existing(volume):
                self._check_volume(volume)
            case _:
                return

    def _check_volume(self, volume: str) -> None:
        _storage, name = split_volume(volume)
        owner = re.search(r"(?:^|/)(?:vm|base)-(\d+)-", name)
        content = "images" if owner else name.partition("/")[0]
        check_volume_access(self._access, self._who, volume, int(owner[1]) if owner else None, self._vmid, content)

    def _check_bridge(self, value: str) -> None:
        _value, card = propstring.parse(value)
        if bridge := card.get("bridge"):
            path = f"/sdn/zones/localnetwork/{bridge}" + (f"/{card['tag']}" if "tag" in card else "")
            self._access.require(self._who, path, "SDN.Use")
