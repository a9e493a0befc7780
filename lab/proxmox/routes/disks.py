"""`nodes/N/qemu/ID`: disks grown and moved."""

from lab.proxmox import propstring, vmconfig
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, bad_parameter, not_found
from lab.proxmox.router import RouteTable
from lab.proxmox.state import TaskRecord, Vm

table = RouteTable()

_VM = "nodes/{node}/qemu/{vmid}"


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


@table.post(_VM + "/move_disk")
async def move_disk(cluster: Cluster, call: Call) -> str:
    """Copy a disk to another storage and drop the original."""
    disk, storage = call.required("disk"), call.required("storage")
    cluster.access.require(call.identity, f"/storage/{storage}", "Datastore.AllocateSpace")
    _read_disk(cluster.vm(call.node, call.vmid), disk)

    async def work(_record: TaskRecord) -> None:
        async with cluster.locks.vm(call.vmid):
            vm = cluster.unlocked_vm(call.node, call.vmid)
            volume, options, size = _read_disk(vm, disk)
            moved = cluster.volumes.move(vm.node, volume, storage, call.vmid)
            vm.config[disk] = vmconfig.render_drive(moved, options, size)

    return cluster.tasks.start(call.node, "qmmove", str(call.vmid), call, work)
