"""Changes of a VM's configuration: the options of a call become stored options, volumes are made and let go."""

import secrets
from collections.abc import Iterable, Mapping

from lab.proxmox import vmconfig
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError
from lab.proxmox.state import Config, Vm
from lab.proxmox.vmconfig import Existing


def _fresh_mac() -> str:
    """An address under Proxmox's own prefix, BC:24:11."""
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in secrets.token_bytes(3))


def apply_options(
    cluster: Cluster, vmid: int, vm: Vm, options: Mapping[str, str], delete: Iterable[str] = (), *, force: bool = False
) -> None:
    """Store changed options in the VM's record; all of them or, when one is refused, none.

    With `force` the disks of deleted options are erased; else they stay as `unusedN`.
    """
    change = _Change(cluster, vmid, vm)
    try:
        for key in delete:
            change.remove(key, force=force)
        for key, value in options.items():
            change.set(key, value)
    except ApiError:
        change.undo()
        raise
    change.commit()


class _Change:
    """One change under way."""

    def __init__(self, cluster: Cluster, vmid: int, vm: Vm) -> None:
        self._cluster = cluster
        self._vmid = vmid
        self._vm = vm
        self._config: Config = dict(vm.config)
        self._made: list[str] = []
        self._dropped: list[str] = []

    def remove(self, key: str, *, force: bool) -> None:
        """Drop an option; a disk becomes unused, an unused disk or a cloud-init drive is erased."""
        if key not in self._config:
            return
        value = str(self._config[key])
        if vmconfig.is_drive(key):
            self._guard(key)
            self._release(key, value, force=force)
        del self._config[key]

    def set(self, key: str, value: str) -> None:
        """Give an option a new value."""
        if vmconfig.is_drive(key):
            self._set_drive(key, value)
        elif key.startswith("net") and key[3:].isdecimal():
            previous = self._config.get(key)
            card = vmconfig.render_network_card(key, value, None if previous is None else str(previous), _fresh_mac())
            self._config[key] = card
        else:
            stored = vmconfig.normalise_option(key, value)
            if stored is None:
                self._config.pop(key, None)
            else:
                self._config[key] = stored

    def undo(self) -> None:
        """Erase the volumes made so far."""
        for volume in self._made:
            self._cluster.volumes.free(self._vm.node, volume)

    def commit(self) -> None:
        """Store the configuration; what acts on a running machine becomes active at once."""
        vm = self._vm
        for volume in self._dropped:
            self._cluster.volumes.free(vm.node, volume)
        if vm.active is not None:
            for key in {*vm.config, *self._config}:
                if vmconfig.is_live(key):
                    if key in self._config:
                        vm.active[key] = self._config[key]
                    else:
                        vm.active.pop(key, None)
        vm.config = self._config

    def _set_drive(self, key: str, value: str) -> None:
        request, options = vmconfig.parse_drive(key, value)
        current = str(self._config.get(key, ""))
        volume = vmconfig.volume_of(current) if current else None
        same = isinstance(request, Existing) and request.volume == volume
        if volume and not same:
            self._guard(key)
            self._release(key, current, force=False)
        source, size = self._cluster.volumes.create_volume(self._vm.node, self._vmid, request)
        if not isinstance(request, Existing) and size is not None:
            self._made.append(source)
        if not vmconfig.is_cdrom(value):
            self._adopt(source)
        elif size is not None:
            options["media"] = "cdrom"
        self._config[key] = vmconfig.render_drive(source, options, size)

    def _adopt(self, volume: str) -> None:
        """A volume that is attached is unused no longer."""
        for key, text in vmconfig.list_drives(self._config).items():
            if key.startswith("unused") and vmconfig.volume_of(text) == volume:
                del self._config[key]

    def _release(self, key: str, text: str, *, force: bool) -> None:
        volume = vmconfig.volume_of(text)
        if volume is None or f"-{self._vmid}-" not in volume:
            return
        if force or key.startswith("unused") or volume.endswith("cloudinit") or "-cloudinit." in volume:
            self._dropped.append(volume)
            return
        number = next(n for n in range(len(self._config) + 1) if f"unused{n}" not in self._config)
        self._config[f"unused{number}"] = volume

    def _guard(self, key: str) -> None:
        if self._vm.config.get("protection") == 1:
            raise ApiError(500, f"can't remove drive '{key}' - protection mode enabled")
