"""`nodes/N/qemu`: VMs created, changed, removed; disks grown."""

import time
import uuid
from typing import Any

from lab.proxmox import power, propstring, vmchange, vmconfig
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, not_found, permission_denied
from lab.proxmox.router import RouteTable
from lab.proxmox.state import TaskRecord, Vm
from lab.proxmox.vmaccess import NOT_OPTIONS, VmAccess

table = RouteTable()

_QEMU = "nodes/{node}/qemu"
_VM = "nodes/{node}/qemu/{vmid}"


def _options(call: Call) -> dict[str, str]:
    return {key: value for key, value in call.plain().items() if key not in NOT_OPTIONS}


@table.post(_QEMU)
async def create_vm(cluster: Cluster, call: Call) -> str:
    """Create a VM; the number is taken at once, the rest is the task's."""
    vmid, pool = call.number("vmid", call.required("vmid")), call.text("pool") or None
    options = _options(call)
    if not cluster.access.has(call.identity, f"/vms/{vmid}", "VM.Allocate") and not (
        pool and cluster.access.has(call.identity, f"/pool/{pool}", "VM.Allocate")
    ):
        raise permission_denied(f"/pool/{pool}, VM.Allocate" if pool else f"/vms/{vmid}, VM.Allocate")
    _check_access(VmAccess(cluster.access, call, vmid, pool), options)
    if existing := cluster.state.vms.get(vmid):
        raise ApiError(500, f"unable to create VM {vmid} - VM {vmid} already exists on node '{existing.node}'")
    if pool and pool not in cluster.state.pools:
        raise not_found(f"pool '{pool}'")
    for key, value in options.items():
        if vmconfig.is_drive(key):
            vmconfig.parse_drive(key, value)  # a malformed drive is refused before the number is taken
    vm = Vm(node=call.node, config={}, lock="create")
    cluster.state.vms[vmid] = vm

    def give_up() -> None:
        cluster.volumes.remove_volumes_of(vmid)
        cluster.state.vms.pop(vmid, None)

    async def work(record: TaskRecord) -> None:
        try:
            async with cluster.locks.vm(vmid):
                vmchange.apply_options(cluster, vmid, vm, options)
        except ApiError as refusal:
            give_up()
            raise ApiError(500, f"unable to create VM {vmid} - {refusal.message}") from None
        _add_defaults(vm)
        vm.lock = None
        if pool:
            cluster.state.pools[pool].vms.append(vmid)
        for key, text in vmconfig.list_drives(vm.config).items():
            record.log.append(f"{key}: successfully created disk '{text}'")
        if call.flag("start"):
            await power.start(cluster, vmid)

    return cluster.tasks.start(call.node, "qmcreate", str(vmid), call, work, give_up)


def _add_defaults(vm: Vm) -> None:
    """What Proxmox VE adds to every new VM."""
    vm.config.setdefault("smbios1", f"uuid={uuid.uuid4()}")
    vm.config.setdefault("vmgenid", str(uuid.uuid4()))
    vm.config["meta"] = f"creation-qemu=10.0.2,ctime={int(time.time())}"
    if vm.config.get("template") == 0:
        del vm.config["template"]


def _check_access(access: VmAccess, options: dict[str, str]) -> None:
    access.check_options(options)
    for key, value in options.items():
        access.check_value(key, value)


@table.get(_VM + "/config")
async def read_config(cluster: Cluster, call: Call) -> dict[str, Any]:
    """The configuration, pending changes included; with `current` as the running machine has it."""
    vm = cluster.vm(call.node, call.vmid)
    config = cluster.active_config(call.vmid) if call.flag("current") else vm.config
    locked = {"lock": vm.lock} if vm.lock else {}
    return {**config, **locked, "digest": cluster.digest(vm)}


@table.put(_VM + "/config")
async def update_config(cluster: Cluster, call: Call) -> None:
    """Change options at once."""
    options, delete = _options(call), call.items("delete")
    if not options and not delete:
        raise ApiError(500, "no options specified")
    for key in set(delete) & set(options):
        raise bad_parameter("delete", f"you can't use '-{key}' and '-delete {key}' at the same time")
    access = VmAccess(cluster.access, call, call.vmid)
    access.check_options(delete)
    _check_access(access, options)
    async with cluster.locks.vm(call.vmid):
        vm = cluster.unlocked_vm(call.node, call.vmid)
        if call.has("digest") and call.text("digest") != cluster.digest(vm):
            raise ApiError(500, "checksum mismatch (file change by other user?)")
        for key in [*delete, *options]:
            _check_current_value(access, vm, key, options.get(key))
        vmchange.apply_options(cluster, call.vmid, vm, options, delete, force=call.flag("force"))


def _check_current_value(access: VmAccess, vm: Vm, key: str, value: str | None) -> None:
    """Rights on what an option holds now: a drive, or a device that is taken away or replaced."""
    present = vm.config.get(key)
    if vmconfig.is_drive(key):
        access.check_drive_change(value if value is not None else str(present or ""))
    elif present is not None and key.startswith(("hostpci", "serial")):
        access.check_value(key, str(present))


@table.put(_VM + "/cloudinit")
async def regenerate_cloudinit(cluster: Cluster, call: Call) -> None:
    """Regenerate the cloud-init drive. The guest reads the configuration at its next boot, so nothing else happens."""
    vm = cluster.unlocked_vm(call.node, call.vmid)
    if not any("cloudinit" in text for text in vmconfig.list_drives(vm.config).values()):
        raise ApiError(500, "no cloudinit drive is configured")


@table.put(_VM + "/resize")
async def resize_disk(cluster: Cluster, call: Call) -> str:
    """Grow a disk; shrinking is refused. Works while the machine runs."""
    disk, size_text = call.required("disk"), call.required("size")
    cluster.vm(call.node, call.vmid)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            vm = cluster.unlocked_vm(call.node, call.vmid)
            volume, options, size = _read_disk(vm, disk)
            storage = volume.partition(":")[0]
            cluster.access.require(call.identity, f"/storage/{storage}", "Datastore.AllocateSpace")
            grown = propstring.parse_size(size_text.removeprefix("+")) + (size if size_text.startswith("+") else 0)
            if grown < size:
                raise ApiError(500, "shrinking disks is not supported")
            cluster.volumes.resize(vm.node, volume, grown)
            vm.config[disk] = vmconfig.render_drive(volume, options, grown)
            if vm.active is not None:
                vm.active[disk] = vm.config[disk]

    try:
        propstring.parse_size(size_text.removeprefix("+"))
    except ValueError as error:
        raise bad_parameter("size", str(error)) from None
    return cluster.tasks.start(call.node, "resize", str(call.vmid), call, work)


def _read_disk(vm: Vm, key: str) -> tuple[str, dict[str, str], int]:
    """Volume, options and size of a disk."""
    text = str(vm.config.get(key, ""))
    volume = vmconfig.volume_of(text)
    if not vmconfig.is_drive(key) or volume is None:
        raise not_found(f"disk '{key}'")
    if vmconfig.is_cdrom(text):
        raise ApiError(500, "you can't resize a cdrom")
    _volume, options = propstring.parse(text)
    return volume, options, propstring.parse_size(options.pop("size", "0"))


@table.delete(_VM)
async def delete_vm(cluster: Cluster, call: Call) -> str:
    """Destroy a VM that is off and not protected."""
    _expect_removable(cluster, call)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            _expect_removable(cluster, call)
            await power.destroy(cluster, call.vmid, unreferenced=call.flag("destroy-unreferenced-disks"))

    return cluster.tasks.start(call.node, "qmdestroy", str(call.vmid), call, work)


def _expect_removable(cluster: Cluster, call: Call) -> None:
    vm = cluster.unlocked_vm(call.node, call.vmid)
    if vm.config.get("protection") == 1:
        raise ApiError(500, f"can't remove VM {call.vmid} - protection mode enabled")
    if cluster.running(call.vmid):
        raise ApiError(500, f"VM {call.vmid} is running - destroy failed")
