"""`nodes/N/qemu/ID`: machines copied and moved to another node."""

import uuid

from lab.proxmox import propstring, vmchange, vmconfig
from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError
from lab.proxmox.router import Table
from lab.proxmox.routes.qemu import expect_free
from lab.proxmox.state import TaskRecord, Vm

table = Table()

_VM = "nodes/{node}/qemu/{vmid}"


@table.post(_VM + "/clone")
async def clone(cluster: Cluster, call: Call) -> str:
    """Copy a VM with its disks under a new number."""
    source, new = cluster.unlocked_vm(call.node, call.vmid), call.number("newid", call.required("newid"))
    pool, target = call.text("pool") or None, call.text("target", call.node)
    cluster.node(target)
    expect_free(cluster, "unable to clone to VM", new, pool)
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
