"""A VM's disks, and what cloud-init writes on them before the VM boots."""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.contracts import Disk, HostFailed, VmSpec
from lab.host.cloud_init import (
    FIRST_UID,
    GROUPS,
    SUDO,
    GuestFile,
    account_lines,
    default_user,
    instance_id,
    system_files,
)
from lab.host.plan import CONTAINERD_ROOT, LAB

GIB = 1 << 30
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True)
class VmDisk:
    """Where a VM is kept: `<run>/hosts/<vmid>`."""

    directory: Path

    @property
    def instance(self) -> Path:
        """Holds the instance id that the disk was prepared for; outside the VM's sight."""
        return self.directory / "instance-id"

    def place(self, path: str) -> Path:
        """Where a file of the VM lies while the VM is off; /usr is a layer of its own.

        Raises:
            HostFailed: the VM has put a link in the way, which would lead out of its disk.
        """
        relative = Path(path.lstrip("/"))
        layer, inner = self.directory / "upper", relative
        if relative.parts[0] == "usr":
            layer, inner = self.directory / "usr-upper", relative.relative_to("usr")
        if ".." in inner.parts:
            raise HostFailed(f"{path}: paths on a VM's disk have no `..`")
        for parent in list(inner.parents)[-2::-1]:
            if (layer / parent).is_symlink():
                raise HostFailed(f"{path}: /{parent} is a link on the VM's disk; cloud-init does not follow it")
        return layer / inner


def prepare_disk(disk: VmDisk, vm: VmSpec, image_root: Path) -> bool:
    """Do what cloud-init does at the first boot of an instance; True when there was something to do.

    A VM whose cloud-init settings changed is a new instance: account, keys, network and files are written again;
    everything else on the disk stays, its SSH host key too.
    """
    for name in ("upper", "work", "usr-upper", "usr-work", "root", "disks"):
        (disk.directory / name).mkdir(parents=True, exist_ok=True)
    wanted = instance_id(vm)
    if disk.instance.exists() and disk.instance.read_text() == wanted:
        return False
    writer = _Writer(disk, image_root)
    if not disk.place(HOST_KEY).exists():
        private, public = new_host_key(vm.name)
        writer.write(GuestFile(HOST_KEY, private, 0o600))
        writer.write(GuestFile(f"{HOST_KEY}.pub", public))
        writer.write(GuestFile("/etc/machine-id", f"{uuid.uuid4().hex}\n".encode(), 0o444))
    _write_account(writer, default_user(vm), vm.ssh_keys)
    for file in system_files(vm):
        writer.write(file)
    disk.instance.write_text(wanted)
    return True


def new_host_key(comment: str) -> tuple[bytes, bytes]:
    """A new Ed25519 host key: private and public file."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return private, public + f" root@{comment}\n".encode()


def _write_account(writer: "_Writer", user: str, keys: Sequence[str]) -> None:
    """Add the user unless it is there, and give it its keys and rights."""
    entries = [line.split(":") for line in writer.read("/etc/passwd").splitlines()]
    known = {entry[0]: int(entry[2]) for entry in entries}
    if user not in known:
        # 65534 is nobody; people's IDs end at 60000 (login.defs(5)).
        uid = max([FIRST_UID - 1, *(uid for uid in known.values() if uid <= 60000)]) + 1
        for path, line in zip(("/etc/passwd", "/etc/shadow", "/etc/group"), account_lines(user, uid), strict=True):
            mode = 0o640 if path == "/etc/shadow" else 0o644
            writer.write(GuestFile(path, (writer.read(path) + line).encode(), mode))
    _join_groups(writer, user)
    writer.write(GuestFile("/etc/sudoers.d/90-cloud-init-users", f"{user} {SUDO}\n".encode(), 0o440))
    home = f"/home/{user}"
    writer.directory(home, 0o755, user)
    writer.directory(f"{home}/.ssh", 0o700, user)
    lines = "".join(f"{key.strip()}\n" for key in keys).encode()
    writer.write(GuestFile(f"{home}/.ssh/authorized_keys", lines, 0o600, user))


def _join_groups(writer: "_Writer", user: str) -> None:
    lines = []
    for line in writer.read("/etc/group").splitlines():
        name, password, gid, members = line.split(":")
        joined = {member for member in members.split(",") if member} | ({user} if name in GROUPS else set())
        lines.append(f"{name}:{password}:{gid}:{','.join(sorted(joined))}\n")
    writer.write(GuestFile("/etc/group", "".join(lines).encode()))


class _Writer:
    """Writes on the disk of a VM that is off; owners are the VM's users."""

    def __init__(self, disk: VmDisk, image_root: Path) -> None:
        self._disk = disk
        self._image = image_root

    def read(self, path: str) -> str:
        """A file of the VM: from its disk, else from the image; empty when there is none."""
        for file in (self._disk.place(path), self._image / path.lstrip("/")):
            if file.is_file() and not file.is_symlink():
                return file.read_text()
        return ""

    def write(self, file: GuestFile) -> None:
        """Replace a file, so that nothing that was there is followed or kept."""
        place = self._disk.place(file.path)
        self._parents(file.path)
        place.unlink(missing_ok=True)
        place.write_bytes(file.content)
        place.chmod(file.mode)
        self._own(place, file.owner)

    def directory(self, path: str, mode: int, owner: str) -> None:
        """Create a directory with this mode and owner."""
        place = self._disk.place(path)
        self._parents(path)
        place.mkdir(exist_ok=True)
        place.chmod(mode)
        self._own(place, owner)

    def _parents(self, path: str) -> None:
        """Create the directories above a file; they look as in the image, because they cover its own."""
        for parent in list(Path(path).parents)[-2::-1]:
            place = self._disk.place(str(parent))
            if not place.is_dir():
                place.mkdir(parents=True)
                template = self._image / str(parent).lstrip("/")
                if template.is_dir():
                    shutil.copymode(template, place)

    def _own(self, place: Path, owner: str) -> None:
        uid = 0
        if owner != "root":
            entries = [line.split(":") for line in self.read("/etc/passwd").splitlines()]
            uid = next((int(entry[2]) for entry in entries if entry[0] == owner), FIRST_UID)
        os.chown(place, uid, uid)


def map_data_disks(disk: VmDisk, vm: VmSpec) -> tuple[tuple[tuple[str, str, bool], ...], tuple[tuple[str, str], ...]]:
    """Raw disks beside the system disk, as sparse files: binds (file, device) and by-id links (target, path).

    Device names and ids are those that QEMU's virtio-scsi disks get from udev: /dev/sdb, scsi-0QEMU_QEMU_HARDDISK_<id>,
    where the id is the serial number or, without one, `drive-<interface>`.
    """
    binds, links = [], []
    for index, entry in enumerate(entry for entry in vm.disks if not entry.boot):
        name = f"sd{chr(ord('b') + index)}"
        binds.append((str(_sparse(disk, entry)), f"/dev/{name}", False))
        identity = entry.serial or f"drive-{entry.interface}"
        links.append((f"../../{name}", f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{identity}"))
    return tuple(binds), tuple(links)


def map_container_storage(
    disk: VmDisk, volumes: Path, populate: Callable[[Path], None]
) -> tuple[tuple[str, str, bool], ...]:
    """What a VM in which containers run needs beside its disk: binds (directory, target, read-only).

    Layers of images cannot lie on its disk, which is an overlay itself; `populate` makes containerd's root directory
    for a VM that has none yet. All VMs share the volumes, as a campus's storage.
    """
    containers = disk.directory / "containers"
    if not containers.exists():
        populate(containers)
    volumes.mkdir(exist_ok=True)
    return ((str(containers), CONTAINERD_ROOT, False), (str(volumes), str(LAB / "volumes"), False))


def _sparse(disk: VmDisk, entry: Disk) -> Path:
    file = disk.directory / "disks" / f"{entry.interface}.raw"
    if not file.exists() or file.stat().st_size < entry.size_gib * GIB:
        with file.open("ab") as raw:
            raw.truncate(entry.size_gib * GIB)
    return file
