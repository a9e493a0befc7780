"""`pools`: the resource pool around a site's VMs."""

from typing import Any

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError, not_found, permission_denied
from lab.proxmox.router import RouteTable
from lab.proxmox.routes.cluster import vm_entry
from lab.proxmox.state import Pool

table = RouteTable()


@table.get("pools")
async def read_pools(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    """The pools that the caller may see, or the one named with its members."""
    if not call.has("poolid"):
        return [
            {"poolid": name, "comment": pool.comment}
            for name, pool in sorted(cluster.state.pools.items())
            if cluster.access.has(call.identity, f"/pool/{name}", "Pool.Audit")
        ]
    name = call.text("poolid")
    cluster.access.require(call.identity, f"/pool/{name}", "Pool.Audit")
    return [{"poolid": name, "comment": _find_pool(cluster, call).comment, "members": _list_members(cluster, call)}]


def _list_members(cluster: Cluster, call: Call) -> list[dict[str, Any]]:
    pool = _find_pool(cluster, call)
    return [
        vm_entry(cluster, vmid) | {"id": f"qemu/{vmid}", "type": "qemu"}
        for vmid in sorted(pool.vms)
        if vmid in cluster.state.vms
    ]


@table.post("pools")
async def create_pool(cluster: Cluster, call: Call) -> None:
    """Add a pool."""
    name = call.required("poolid")
    if name in cluster.state.pools:
        raise ApiError(500, f"create pool failed: pool '{name}' already exists")
    cluster.state.pools[name] = Pool(comment=call.text("comment"))


@table.put("pools")
async def update_pool(cluster: Cluster, call: Call) -> None:
    """Add VMs, or with `delete` remove them."""
    pool = _find_pool(cluster, call)
    for vmid in (call.number("vms", item) for item in call.items("vms")):
        if not cluster.access.may_grant(call.identity, f"/vms/{vmid}"):
            raise permission_denied(f"/vms/{vmid}, Permissions.Modify|VM.Allocate")
        _move_vm(cluster, call, pool, vmid)


def _move_vm(cluster: Cluster, call: Call, pool: Pool, vmid: int) -> None:
    if call.flag("delete"):
        if vmid not in pool.vms:
            raise ApiError(500, f"update pool failed: VM {vmid} is not a pool member")
        pool.vms.remove(vmid)
        return
    if vmid not in cluster.state.vms:
        raise not_found(f"VM {vmid}")
    other = cluster.state.pool_of(vmid)
    if other is not None:
        raise ApiError(500, f"update pool failed: VM {vmid} belongs already to pool '{other}'")
    pool.vms.append(vmid)


def _find_pool(cluster: Cluster, call: Call) -> Pool:
    name = call.required("poolid")
    if name not in cluster.state.pools:
        raise not_found(f"pool '{name}'")
    return cluster.state.pools[name]
