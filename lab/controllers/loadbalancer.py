"""Addresses for Services of type LoadBalancer, as MetalLB's controller gives them."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from lab.controllers.changes import Change, each, ensure, note
from lab.controllers.snapshot_cache import Object, World, annotations, labels, name, namespace, path

__all__ = ["decide"]

Address = IPv4Address | IPv6Address

PREFIXES = ("metallb.io", "metallb.universe.tf")
"""Annotation prefixes that MetalLB 0.16 reads; the second is the older one."""

MOST = 65536
"""How many addresses of a pool are looked at; the lab's pools hold a few dozen."""


def decide(world: World) -> Iterator[Change]:
    """Gives each waiting Service an address of a pool, and says why when there is none."""
    if world.operator(name="metallb", component="controller") is None:
        return
    services = [item for item in world.all("Service") if path(item, "spec", "type") == "LoadBalancer"]
    taken = {address: item for item in services if (address := _address(item))}
    announced = bool(world.all("L2Advertisement") or world.all("BGPAdvertisement"))

    def give(service: Object) -> Iterator[Change]:
        if path(service, "spec", "loadBalancerClass"):
            return  # another controller's
        if _address(service):
            if announced:
                yield note(service, "nodeAssigned", 'announcing with protocol "layer2"')
            return
        found = _choose(world, service, taken)
        if isinstance(found, str):
            why = f'Failed to allocate IP for "{namespace(service)}/{name(service)}": {found}'
            yield note(service, "AllocationFailed", why, warning=True)
            return
        address, pool = found
        taken[address] = service
        yield note(service, "IPAllocated", f'Assigned IP ["{address}"]')
        yield from ensure(service, {"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": name(pool)}}})
        ingress = [{"ip": str(address), "ipMode": "VIP"}]
        yield from ensure(service, {"status": {"loadBalancer": {"ingress": ingress}}}, "status")

    yield from each(services, give)


def _address(service: Object) -> Address | None:
    ingress = path(service, "status", "loadBalancer", "ingress", default=[])
    return ip_address(ingress[0]["ip"]) if ingress and "ip" in ingress[0] else None


def _choose(world: World, service: Object, taken: dict[Address, Object]) -> tuple[Address, Object] | str:
    """An address and its pool, or the reason why there is none."""
    pools = [pool for pool in world.all("IPAddressPool") if _serves(pool, service)]
    wanted, pool_wanted = _asked(service, "loadBalancerIPs"), _asked(service, "address-pool")
    if wanted is None:
        wanted = path(service, "spec", "loadBalancerIP") or None
    if wanted is not None:
        address = ip_address(wanted.split(",")[0].strip())
        pool = next((pool for pool in pools if address in _members(pool)), None)
        if pool is None:
            return f'"{address}" is not allowed in config'
        if address in taken and not _shares(service, taken[address]):
            other = taken[address]
            return f'can\'t change sharing key for "{namespace(service)}/{name(service)}", address also in use by {namespace(other)}/{name(other)}'
        return address, pool
    if pool_wanted is not None:
        pools = [pool for pool in pools if name(pool) == pool_wanted]
        if not pools:
            return f'unknown pool "{pool_wanted}"'
    else:
        pools = [pool for pool in pools if path(pool, "spec", "autoAssign", default=True)]
    for pool in pools:
        free = next((address for address in _members(pool) if address not in taken), None)
        if free is not None:
            return free, pool
    return "no available IPs"


def _asked(service: Object, what: str) -> str | None:
    given = annotations(service)
    return next((given[f"{prefix}/{what}"] for prefix in PREFIXES if f"{prefix}/{what}" in given), None)


def _shares(service: Object, other: Object) -> bool:
    sharing = _asked(service, "allow-shared-ip")
    return sharing is not None and sharing == _asked(other, "allow-shared-ip")


def _serves(pool: Object, service: Object) -> bool:
    """Whether the pool's serviceAllocation admits the service."""
    rule = path(pool, "spec", "serviceAllocation", default={})
    namespaces = rule.get("namespaces") or []
    selectors = rule.get("serviceSelectors") or []
    if namespaces and namespace(service) not in namespaces:
        return False
    return not selectors or any(
        (item.get("matchLabels") or {}).items() <= labels(service).items() for item in selectors
    )


def _members(pool: Object) -> list[Address]:
    """The pool's addresses in order; `avoidBuggyIPs` leaves out .0 and .255."""
    found: list[Address] = []
    for text in path(pool, "spec", "addresses", default=[]):
        if "-" in text:
            first, last = (ip_address(part.strip()) for part in text.split("-"))
        else:
            network = ip_network(text, strict=False)
            first, last = network[0], network[-1]
        count = min(int(last) - int(first) + 1, MOST - len(found))
        found += [first + step for step in range(count)]
    if path(pool, "spec", "avoidBuggyIPs", default=False):
        found = [address for address in found if int(address) & 0xFF not in (0, 255)]
    return found
