"""Addresses for Services of type LoadBalancer, as MetalLB's controller gives them."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from lab.controllers.changes import Change, decide_each, ensure_fields, post_event
from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path, labels, name, namespace

__all__ = ["decide"]

Address = IPv4Address | IPv6Address

PREFIXES = ("metallb.io", "metallb.universe.tf")
"""Annotation prefixes that MetalLB 0.16 reads; the second is the older one."""

MAX_ADDRESSES = 65536
"""How many addresses of a pool are looked at; the lab's pools hold a few dozen."""


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Gives each waiting Service an address of a pool, and says why when there is none."""
    if cache.operator(name="metallb", component="controller") is None:
        return
    services = [item for item in cache.all("Service") if get_path(item, "spec", "type") == "LoadBalancer"]
    taken = {address: item for item in services if (address := _assigned_address(item))}
    announced = bool(cache.all("L2Advertisement") or cache.all("BGPAdvertisement"))

    def give(service: Object) -> Iterator[Change]:
        if get_path(service, "spec", "loadBalancerClass"):
            return  # another controller's
        if _assigned_address(service):
            if announced:
                yield post_event(service, "nodeAssigned", 'announcing with protocol "layer2"')
            return
        found = _choose_address(cache, service, taken)
        if isinstance(found, str):
            why = f'Failed to allocate IP for "{namespace(service)}/{name(service)}": {found}'
            yield post_event(service, "AllocationFailed", why, warning=True)
            return
        address, pool = found
        taken[address] = service
        yield post_event(service, "IPAllocated", f'Assigned IP ["{address}"]')
        yield from ensure_fields(
            service, {"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": name(pool)}}}
        )
        ingress = [{"ip": str(address), "ipMode": "VIP"}]
        yield from ensure_fields(service, {"status": {"loadBalancer": {"ingress": ingress}}}, "status")

    yield from decide_each(services, give)


def _assigned_address(service: Object) -> Address | None:
    ingress = get_path(service, "status", "loadBalancer", "ingress", default=[])
    return ip_address(ingress[0]["ip"]) if ingress and "ip" in ingress[0] else None


def _choose_address(cache: ClusterCache, service: Object, taken: dict[Address, Object]) -> tuple[Address, Object] | str:
    """An address and its pool, or the reason why there is none."""
    pools = [pool for pool in cache.all("IPAddressPool") if _pool_admits(pool, service)]
    wanted, pool_wanted = _requested(service, "loadBalancerIPs"), _requested(service, "address-pool")
    if wanted is None:
        wanted = get_path(service, "spec", "loadBalancerIP") or None
    if wanted is not None:
        address = ip_address(wanted.split(",")[0].strip())
        pool = next((pool for pool in pools if address in _pool_addresses(pool)), None)
        if pool is None:
            return f'"{address}" is not allowed in config'
        if address in taken and not _may_share(service, taken[address]):
            other = taken[address]
            return f'can\'t change sharing key for "{namespace(service)}/{name(service)}", address also in use by {namespace(other)}/{name(other)}'
        return address, pool
    if pool_wanted is not None:
        pools = [pool for pool in pools if name(pool) == pool_wanted]
        if not pools:
            return f'unknown pool "{pool_wanted}"'
    else:
        pools = [pool for pool in pools if get_path(pool, "spec", "autoAssign", default=True)]
    for pool in pools:
        free = next((address for address in _pool_addresses(pool) if address not in taken), None)
        if free is not None:
            return free, pool
    return "no available IPs"


def _requested(service: Object, what: str) -> str | None:
    given = annotations(service)
    return next((given[f"{prefix}/{what}"] for prefix in PREFIXES if f"{prefix}/{what}" in given), None)


def _may_share(service: Object, other: Object) -> bool:
    sharing = _requested(service, "allow-shared-ip")
    return sharing is not None and sharing == _requested(other, "allow-shared-ip")


def _pool_admits(pool: Object, service: Object) -> bool:
    """Whether the pool's serviceAllocation admits the service."""
    rule = get_path(pool, "spec", "serviceAllocation", default={})
    namespaces = rule.get("namespaces") or []
    selectors = rule.get("serviceSelectors") or []
    if namespaces and namespace(service) not in namespaces:
        return False
    return not selectors or any(
        (item.get("matchLabels") or {}).items() <= labels(service).items() for item in selectors
    )


def _pool_addresses(pool: Object) -> list[Address]:
    """The pool's addresses in order; `avoidBuggyIPs` leaves out .0 and .255."""
    found: list[Address] = []
    for text in get_path(pool, "spec", "addresses", default=[]):
        if "-" in text:
            first, last = (ip_address(part.strip()) for part in text.split("-"))
        else:
            network = ip_network(text, strict=False)
            first, last = network[0], network[-1]
        count = min(int(last) - int(first) + 1, MAX_ADDRESSES - len(found))
        found += [first + step for step in range(count)]
    if get_path(pool, "spec", "avoidBuggyIPs", default=False):
        found = [address for address in found if int(address) & 0xFF not in (0, 255)]
    return found
