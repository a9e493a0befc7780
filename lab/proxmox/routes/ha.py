"""`cluster/ha`: resources and rules are kept, nothing fails over."""

from collections.abc import Awaitable, Callable
from typing import Any

from lab.proxmox.call import Call
from lab.proxmox.cluster import Cluster
from lab.proxmox.errors import ApiError
from lab.proxmox.router import Table

table = Table()

_Store = Callable[[Cluster], dict[str, dict[str, str]]]
_NUMBERS = ("max_restart", "max_relocate", "failback", "strict", "disable")


def _collection(path: str, key: str, what: str, store: _Store, defaults: Callable[[str], dict[str, str]]) -> None:
    """The five routes of a collection whose entries are flat."""

    def shown(name: str, entry: dict[str, str]) -> dict[str, Any]:
        merged = {key: name, **defaults(name), **entry}
        return {field: int(value) if field in _NUMBERS else value for field, value in merged.items()}

    def entry_of(cluster: Cluster, call: Call) -> dict[str, str]:
        if call[key] not in store(cluster):
            raise ApiError(500, f"no such {what} '{call[key]}'")
        return store(cluster)[call[key]]

    @table.get(path)
    async def listing(cluster: Cluster, _call: Call) -> list[dict[str, Any]]:
        return [shown(name, entry) for name, entry in sorted(store(cluster).items())]

    @table.post(path)
    async def create(cluster: Cluster, call: Call) -> None:
        name = call.required(key)
        if name in store(cluster):
            raise ApiError(500, f"{what} '{name}' already defined: already exists")
        store(cluster)[name] = {field: value for field, value in call.plain().items() if field != key}

    @table.get(f"{path}/{{{key}}}")
    async def read(cluster: Cluster, call: Call) -> dict[str, Any]:
        return shown(call[key], entry_of(cluster, call))

    @table.put(f"{path}/{{{key}}}")
    async def update(cluster: Cluster, call: Call) -> None:
        entry = entry_of(cluster, call)
        for field in call.items("delete"):
            entry.pop(field, None)
        entry.update({field: value for field, value in call.plain().items() if field not in ("delete", "digest")})

    @table.delete(f"{path}/{{{key}}}")
    async def delete(cluster: Cluster, call: Call) -> None:
        entry_of(cluster, call)
        del store(cluster)[call[key]]

    handlers: tuple[Callable[[Cluster, Call], Awaitable[Any]], ...] = (listing, create, read, update, delete)
    for handler in handlers:
        handler.__doc__ = f"{what}: {handler.__name__}."


_collection(
    "cluster/ha/resources",
    "sid",
    "ha resource",
    lambda cluster: cluster.state.ha_resources,
    lambda name: {"type": name.partition(":")[0], "state": "started"},
)
_collection("cluster/ha/rules", "rule", "ha rule", lambda cluster: cluster.state.ha_rules, lambda _name: {})
