"""`nodes/N/qemu`: virtual machines."""

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from lab.proxmox import power, propstring, vmchange, vmconfig, vmspec
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, denied, missing
from lab.proxmox.propstring import MIB
from lab.proxmox.router import Table
from lab.proxmox.routes.cluster import vm_entry
from lab.proxmox.state import TaskRecord, Vm
from lab.proxmox.vmaccess import NOT_OPTIONS, VmAccess

table = Table()

_QEMU = "nodes/{node}/qemu"
_VM = "nodes/{node}/qemu/{vmid}"


def _options(call: Call) -> dict[str, str]:
    return {key: value for key, value in call.plain().items() if key not in NOT_OPTIONS}


@table.get(_QEMU)
async def list_vms(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The VMs of a node that the caller may see."""
    return [
        vm_entry(cluster, vmid)
        for vmid, vm in sorted(cluster.state.vms.items())
        if vm.node == call.node and cluster.access.has(call.identity, f"/vms/{vmid}", "VM.Audit")
    ]


@table.post(_QEMU)
async def create(cluster: Cluster, call: Call) -> str:
    """Make a VM; the number is taken at once, the rest is the task's."""
    vmid, pool = call.number("vmid", call.required("vmid")), call.text("pool") or None
    options = _options(call)
    if not cluster.access.has(call.identity, f"/vms/{vmid}", "VM.Allocate") and not (
        pool and cluster.access.has(call.identity, f"/pool/{pool}", "VM.Allocate")
    ):
        raise denied(f"/pool/{pool}, VM.Allocate" if pool else f"/vms/{vmid}, VM.Allocate")
    _check(VmAccess(cluster.access, call, vmid, pool), options)
    _expect_free(cluster, "unable to create VM", vmid, pool)
    for key, value in options.items():
        if vmconfig.is_drive(key):
            vmconfig.parse_drive(key, value)  # a malformed drive is refused before the number is taken
    vm = Vm(node=call.node, config={}, lock="create")
    cluster.state.vms[vmid] = vm

    def give_up() -> None:
        cluster.volumes.free_all(vmid)
        cluster.state.vms.pop(vmid, None)

    async def work(record: TaskRecord) -> None:
        try:
            async with cluster.locks.vm(vmid), cluster.locks.storages(vmchange.storages_for(options)):
                vmchange.apply(cluster, vmid, vm, options)
        except ApiError as refusal:
            give_up()
            raise ApiError(500, f"unable to create VM {vmid} - {refusal.message}") from None
        _finish(vm)
        vm.lock = None
        if pool:
            cluster.state.pools[pool].vms.append(vmid)
        for key, text in vmconfig.drives(vm.config).items():
            record.log.append(f"{key}: successfully created disk '{text}'")
        if call.flag("start"):
            await power.start(cluster, vmid)

    return cluster.tasks.start(call.node, "qmcreate", str(vmid), call, work, give_up)


def _finish(vm: Vm) -> None:
    """What Proxmox VE adds to every new VM."""
    vm.config.setdefault("smbios1", f"uuid={uuid.uuid4()}")
    vm.config.setdefault("vmgenid", str(uuid.uuid4()))
    vm.config["meta"] = f"creation-qemu=10.0.2,ctime={int(time.time())}"
    if vm.config.get("template") == 0:
        del vm.config["template"]


def _check(access: VmAccess, options: dict[str, str]) -> None:
    access.check_options(options)
    for key, value in options.items():
        access.check_value(key, value)


def _expect_free(cluster: Cluster, action: str, vmid: int, pool: str | None) -> None:
    if existing := cluster.state.vms.get(vmid):
        raise ApiError(500, f"{action} {vmid} - VM {vmid} already exists on node '{existing.node}'")
    if pool and pool not in cluster.state.pools:
        raise missing(f"pool '{pool}'")


@table.get(_VM + "/config")
async def read_config(cluster: Cluster, call: Call) -> dict[str, Any]:
    """The configuration, pending changes included; with `current` as the running machine has it."""
    vm = cluster.vm(call.node, call.vmid)
    config = vm.active if call.flag("current") and vm.active is not None else vm.config
    locked = {"lock": vm.lock} if vm.lock else {}
    return {**config, **locked, "digest": cluster.digest(vm)}


@table.get(_VM + "/pending")
async def read_pending(cluster: Cluster, call: Call) -> list[dict[str, str | int]]:
    """Each option with the value that waits for the next start."""
    return vmchange.pending(cluster.vm(call.node, call.vmid))


@table.put(_VM + "/config")
async def update_config(cluster: Cluster, call: Call) -> None:
    """Change options at once."""
    await _update(cluster, call)


@table.post(_VM + "/config")
async def update_config_in_task(cluster: Cluster, call: Call) -> str:
    """Change options in a task."""
    cluster.vm(call.node, call.vmid)

    async def work(_record: TaskRecord) -> None:
        await _update(cluster, call)

    return cluster.tasks.start(call.node, "qmconfig", str(call.vmid), call, work)


async def _update(cluster: Cluster, call: Call) -> None:
    options, delete = _options(call), call.items("delete")
    if not options and not delete:
        raise ApiError(500, "no options specified")
    for key in set(delete) & set(options):
        raise bad_parameter("delete", f"you can't use '-{key}' and '-delete {key}' at the same time")
    access = VmAccess(cluster.access, call, call.vmid)
    access.check_options(delete)
    _check(access, options)
    async with cluster.locks.vm(call.vmid), cluster.locks.storages(vmchange.storages_for(options)):
        vm = cluster.unlocked_vm(call.node, call.vmid)
        if call.has("digest") and call.text("digest") != cluster.digest(vm):
            raise ApiError(500, "checksum mismatch (file change by other user?)")
        for key in [*delete, *options]:
            _check_present(access, vm, key, options.get(key))
        vmchange.apply(cluster, call.vmid, vm, options, delete, force=call.flag("force"))


def _check_present(access: VmAccess, vm: Vm, key: str, value: str | None) -> None:
    """Rights on what an option holds now: a drive, or a device that is taken away or replaced."""
    present = vm.config.get(key)
    if vmconfig.is_drive(key):
        access.check_drive_change(value if value is not None else str(present or ""))
    elif present is not None and key.startswith(("hostpci", "serial", "usb")):
        access.check_value(key, str(present))


@table.put(_VM + "/cloudinit")
async def regenerate_cloudinit(cluster: Cluster, call: Call) -> None:
    """Write the cloud-init drive anew. The guest reads the configuration at its next boot, so nothing else happens."""
    vm = cluster.unlocked_vm(call.node, call.vmid)
    if not any("cloudinit" in text for text in vmconfig.drives(vm.config).values()):
        raise ApiError(500, "no cloudinit drive is configured")


@table.put(_VM + "/resize")
async def resize(cluster: Cluster, call: Call) -> str:
    """Grow a disk; shrinking is refused. Works while the machine runs."""
    disk, size_text = call.required("disk"), call.required("size")
    cluster.vm(call.node, call.vmid)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            vm = cluster.unlocked_vm(call.node, call.vmid)
            volume, options, size = _disk(vm, disk)
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


def _disk(vm: Vm, key: str) -> tuple[str, dict[str, str], int]:
    """Volume, options and size of a disk."""
    text = str(vm.config.get(key, ""))
    volume = vmconfig.volume_of(text)
    if not vmconfig.is_drive(key) or volume is None:
        raise missing(f"disk '{key}'")
    if vmconfig.is_cdrom(text):
        raise ApiError(500, "you can't resize a cdrom")
    _volume, options = propstring.parse(text)
    return volume, options, propstring.parse_size(options.pop("size", "0"))


@table.post(_VM + "/move_disk")
async def move_disk(cluster: Cluster, call: Call) -> str:
    """Copy a disk to another storage and drop the original."""
    disk, storage = call.required("disk"), call.required("storage")
    cluster.access.require(call.identity, f"/storage/{storage}", "Datastore.AllocateSpace")
    _disk(cluster.vm(call.node, call.vmid), disk)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            vm = cluster.unlocked_vm(call.node, call.vmid)
            volume, options, size = _disk(vm, disk)
            moved = cluster.volumes.move(vm.node, volume, storage, call.vmid)
            vm.config[disk] = vmconfig.render_drive(moved, options, size)

    return cluster.tasks.start(call.node, "qmmove", str(call.vmid), call, work)


@table.post(_VM + "/template")
async def make_template(cluster: Cluster, call: Call) -> str:
    """Turn a VM that is off into a template."""
    vm = cluster.unlocked_vm(call.node, call.vmid)
    if cluster.running(call.vmid):
        raise ApiError(500, "you can't convert a VM to template if VM is running")

    async def work(_record: TaskRecord) -> None:
        vm.config["template"] = 1

    return cluster.tasks.start(call.node, "qmtemplate", str(call.vmid), call, work)


@table.post(_VM + "/clone")
async def clone(cluster: Cluster, call: Call) -> str:
    """Copy a VM with its disks under a new number."""
    source, new = cluster.unlocked_vm(call.node, call.vmid), call.number("newid", call.required("newid"))
    pool, target = call.text("pool") or None, call.text("target", call.node)
    cluster.node(target)
    _expect_free(cluster, "unable to clone to VM", new, pool)
    storages = {call.text("storage") or str(volume).partition(":")[0] for volume in _volumes(source)}
    for storage in storages:
        cluster.access.require(call.identity, f"/storage/{storage}", "Datastore.AllocateSpace")
    copy = Vm(node=target, config={}, lock="clone")
    cluster.state.vms[new] = copy

    def give_up() -> None:
        cluster.volumes.free_all(new)
        cluster.state.vms.pop(new, None)

    async def work(_record: TaskRecord) -> None:
        try:
            async with cluster.locks.vm(call.vmid), cluster.locks.storages(storages):
                copy.config = _copied(cluster, call, source, new, target)
        except ApiError:
            give_up()
            raise
        copy.lock = None
        if pool:
            cluster.state.pools[pool].vms.append(new)

    return cluster.tasks.start(call.node, "qmclone", str(call.vmid), call, work, give_up)


def _volumes(vm: Vm) -> list[str]:
    return [volume for text in vmconfig.drives(vm.config).values() if (volume := vmconfig.volume_of(text))]


def _copied(cluster: Cluster, call: Call, source: Vm, new: int, target: str) -> dict[str, str | int]:
    config = {key: value for key, value in source.config.items() if key not in ("template", "protection")}
    for key, text in vmconfig.drives(config).items():
        volume, options = propstring.parse(text)
        if ":" not in volume or f"-{call.vmid}-" not in volume:
            continue
        storage = call.text("storage") or volume.partition(":")[0]
        made, size = cluster.volumes.copy(source.node, volume, target, storage, new)
        options.pop("size", None)
        config[key] = vmconfig.render_drive(made, options, size)
    for number, card in vmconfig.numbered(config, "net").items():
        _value, options = propstring.parse(card)
        model = next(name for name, value in options.items() if ":" in value)
        config[f"net{number}"] = propstring.join("", {model: vmchange.fresh_mac()}) + card[card.index(",") :]
    config["name"] = call.text("name") or f"Copy-of-VM-{source.config.get('name', call.vmid)}"
    config["smbios1"], config["vmgenid"] = f"uuid={uuid.uuid4()}", str(uuid.uuid4())
    return config


@table.post(_VM + "/migrate")
async def migrate(cluster: Cluster, call: Call) -> str:
    """Move a VM to another node; never with passed-through devices while it runs."""
    vm, target = cluster.unlocked_vm(call.node, call.vmid), cluster.node(call.required("target"))
    devices = vmconfig.numbered(vm.config, "hostpci")
    if cluster.running(call.vmid):
        if not call.flag("online"):
            raise ApiError(500, "can't migrate running VM without --online")
        if devices:
            raise ApiError(500, f"can't migrate running VM which uses local devices: hostpci{min(devices)}")

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            for key, text in vmconfig.drives(vm.config).items():
                volume, options = propstring.parse(text)
                if ":" in volume:
                    options.pop("size", None)
                    storage = call.text("targetstorage") or volume.partition(":")[0]
                    moved, size = cluster.volumes.copy(vm.node, volume, target.name, storage, call.vmid)
                    vm.config[key] = vmconfig.render_drive(moved, options, size)
                    if moved != volume or vm.node != target.name:
                        cluster.volumes.free(vm.node, volume)
            vm.node = target.name

    return cluster.tasks.start(call.node, "qmigrate", str(call.vmid), call, work)


@table.get(_VM + "/status/current")
async def status(cluster: Cluster, call: Call) -> dict[str, Any]:
    """Power state and figures."""
    vm = cluster.vm(call.node, call.vmid)
    shown = vm_entry(cluster, call.vmid)
    del shown["node"]
    return {
        **shown,
        "qmpstatus": shown["status"],
        "cpus": shown["maxcpu"],
        "balloon": vmspec.memory_mib(vm.config) * MIB,
        "ha": {"managed": int(f"vm:{call.vmid}" in cluster.state.ha_resources)},
        "agent": int(vmspec.agent_enabled(vm.config)),
    }


def _power_task(cluster: Cluster, call: Call, kind: str, action: Callable[[Cluster, int], Awaitable[None]]) -> str:
    """Start a task that does something to the power of an unlocked VM while it holds its lock."""
    cluster.unlocked_vm(call.node, call.vmid)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            cluster.unlocked_vm(call.node, call.vmid)
            await action(cluster, call.vmid)

    return cluster.tasks.start(call.node, kind, str(call.vmid), call, work)


@table.post(_VM + "/status/start")
async def start(cluster: Cluster, call: Call) -> str:
    """Switch on; a template cannot be."""
    if cluster.vm(call.node, call.vmid).config.get("template"):
        raise ApiError(500, "you can't start a vm if it's a template")
    return _power_task(cluster, call, "qmstart", power.start)


@table.post(_VM + "/status/stop")
async def stop(cluster: Cluster, call: Call) -> str:
    """Cut the power."""
    return _power_task(cluster, call, "qmstop", power.stop)


@table.post(_VM + "/status/shutdown")
async def shutdown(cluster: Cluster, call: Call) -> str:
    """Ask the guest to shut down."""
    return _power_task(cluster, call, "qmshutdown", power.shutdown)


@table.post(_VM + "/status/reboot")
async def reboot(cluster: Cluster, call: Call) -> str:
    """Shut down and start again; pending changes take effect."""
    _expect_running(cluster, call)

    async def action(cluster: Cluster, vmid: int) -> None:
        await power.shutdown(cluster, vmid)
        await power.start(cluster, vmid)

    return _power_task(cluster, call, "qmreboot", action)


@table.post(_VM + "/status/reset")
async def reset(cluster: Cluster, call: Call) -> str:
    """Press the reset button."""
    _expect_running(cluster, call)
    return _power_task(cluster, call, "qmreset", power.reset)


def _expect_running(cluster: Cluster, call: Call) -> None:
    cluster.vm(call.node, call.vmid)
    if not cluster.running(call.vmid):
        raise ApiError(500, f"VM {call.vmid} not running")


@table.delete(_VM)
async def delete(cluster: Cluster, call: Call) -> str:
    """Destroy a VM that is off and not protected."""
    _expect_removable(cluster, call)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            _expect_removable(cluster, call)
            await power.destroy(
                cluster,
                call.vmid,
                unreferenced=call.flag("destroy-unreferenced-disks"),
                purge=call.flag("purge"),
            )

    return cluster.tasks.start(call.node, "qmdestroy", str(call.vmid), call, work)


def _expect_removable(cluster: Cluster, call: Call) -> None:
    vm = cluster.unlocked_vm(call.node, call.vmid)
    if vm.config.get("protection") == 1:
        raise ApiError(500, f"can't remove VM {call.vmid} - protection mode enabled")
    if f"vm:{call.vmid}" in cluster.state.ha_resources and not call.flag("purge"):
        raise ApiError(500, f"unable to remove VM {call.vmid} - used in HA resources and purge parameter not set.")
    if cluster.running(call.vmid):
        raise ApiError(500, f"VM {call.vmid} is running - destroy failed")
