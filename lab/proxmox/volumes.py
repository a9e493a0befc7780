"""Storages and the volumes on them: naming, sizes, space."""

import re
from collections.abc import Iterator
from pathlib import Path

from lab.contracts import LabSpec, Storage
from lab.proxmox.errors import ApiError, not_found
from lab.proxmox.faults import Conditions
from lab.proxmox.propstring import GIB
from lab.proxmox.state import ClusterState, Volume
from lab.proxmox.vmconfig import CLOUDINIT_SIZE, CloudInit, DriveRequest, Existing, NewDisk, NoMedia

IMAGE_SIZE = 3 * GIB
"""What a simulated cloud image presents as a disk; Debian's and Ubuntu's generic images are 2 to 3.5 GiB."""


def split_volume(volume: str) -> tuple[str, str]:
    """`local:import/x.qcow2` into storage and name; raises `ApiError` 400."""
    storage, colon, name = volume.partition(":")
    if not colon or not name:
        raise ApiError(400, f"unable to parse volume ID '{volume}'")
    return storage, name


class Volumes:
    """The storages of the campus, as the API sees them; files of directory storages have paths below `directory`."""

    def __init__(self, spec: LabSpec, state: ClusterState, conditions: Conditions, directory: Path) -> None:
        self._spec = spec
        self._state = state
        self._conditions = conditions
        self._directory = directory

    def storages(self, node: str) -> tuple[Storage, ...]:
        """The storages of a node."""
        return next((host.storages for host in self._spec.nodes if host.name == node), ())

    def storage(self, node: str, name: str) -> Storage:
        """One storage of a node; raises `ApiError` as Proxmox VE does for an unknown one."""
        for storage in self.storages(node):
            if storage.name == name:
                return storage
        raise not_found(f"storage '{name}'")

    def path(self, storage: Storage) -> Path | None:
        """Directory of a file-based storage."""
        return self._directory / storage.name if storage.type == "dir" else None

    def used(self, node: str, storage: Storage) -> int:
        """Bytes in use: what was written, for all storages are thin."""
        occupied = sum(volume.written for _name, volume in self.volumes_on(node, storage.name))
        return occupied + self._conditions.ballast.get(f"{node}/{storage.name}", 0) * GIB

    def volumes_on(self, node: str, storage: str) -> Iterator[tuple[str, Volume]]:
        """Volumes of a storage with their identifiers, in the order they were made."""
        prefix = f"{node}/{storage}:"
        for key, volume in self._state.volumes.items():
            if key.startswith(prefix):
                yield key.partition("/")[2], volume

    def find(self, node: str, volume: str) -> Volume:
        """A volume by its identifier; raises `ApiError` when there is none."""
        found = self._state.volumes.get(f"{node}/{volume}")
        if found is None:
            raise not_found(f"volume '{volume}'")
        return found

    def exists(self, node: str, volume: str) -> bool:
        """Whether a volume is there."""
        return f"{node}/{volume}" in self._state.volumes

    def add_file(self, node: str, volume: str, content: str, size: int) -> None:
        """Put a downloaded file on its storage; raises `ApiError` when the storage is full."""
        form = Path(split_volume(volume)[1]).suffix.lstrip(".") or "raw"
        self._store(node, volume, Volume(content=content, format=form, size=size, written=size))

    def create_volume(self, node: str, vmid: int, request: DriveRequest) -> tuple[str, int | None]:
        """Create what a drive option asks for.

        Returns:
            The source to store in the configuration and the size in bytes, None for an empty CD-ROM.
        """
        match request:
            case NoMedia():
                return request.source, None
            case Existing():
                return request.volume, self.find(node, request.volume).size
            case CloudInit():
                blank = _image(vmid, request.format, CLOUDINIT_SIZE, 0)
                return self._allocate(node, request.storage, blank, "cloudinit"), CLOUDINIT_SIZE
            case NewDisk():
                size, written = request.size, 0
                if request.import_from:
                    self.find(node, request.import_from)
                    size = written = IMAGE_SIZE
                return self._allocate(node, request.storage, _image(vmid, request.format, size, written)), size

    def resize(self, node: str, volume: str, size: int) -> None:
        """Grow an image to `size` bytes."""
        self.find(node, volume).size = size

    def free(self, node: str, volume: str) -> None:
        """Remove a volume; one that is gone already is not an error."""
        self._state.volumes.pop(f"{node}/{volume}", None)

    def remove_volumes_of(self, vmid: int) -> None:
        """Remove every image that belongs to a VM, on every node."""
        for key in [key for key, volume in self._state.volumes.items() if volume.vmid == vmid]:
            del self._state.volumes[key]

    def _allocate(self, node: str, storage: str, image: Volume, suffix: str | None = None) -> str:
        place = self.storage(node, storage)
        if "images" not in place.content:
            raise ApiError(500, f"storage '{storage}' does not support vm images")
        stem = f"vm-{image.vmid}-{suffix or f'disk-{self._free_number(node, storage, image.vmid)}'}"
        if place.type == "dir":
            volume = f"{storage}:{image.vmid}/{stem}.{image.format}"
        else:
            volume, image = f"{storage}:{stem}", image.model_copy(update={"format": "raw"})
        self._store(node, volume, image)
        return volume

    def _free_number(self, node: str, storage: str, vmid: int | None) -> int:
        pattern = re.compile(rf"vm-{vmid}-disk-(\d+)")
        taken = {int(match[1]) for name, _volume in self.volumes_on(node, storage) if (match := pattern.search(name))}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _store(self, node: str, name: str, volume: Volume) -> None:
        storage = self.storage(node, split_volume(name)[0])
        room = storage.size_gib * GIB - self.used(node, storage)
        if volume.written > room:
            raise ApiError(
                500,
                f"not enough free space on storage '{storage.name}' of node '{node}': "
                f"need {volume.written / GIB:.1f} GiB, have {max(room, 0) / GIB:.1f} GiB",
            )
        self._state.volumes[f"{node}/{name}"] = volume


def _image(vmid: int, form: str, size: int, written: int) -> Volume:
    return Volume(content="images", format=form, size=size, written=written, vmid=vmid)
