"""Addresses for Services where MetalLB's pods are simulated: the one that a Service asks for, or the pools' next free one."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from lab.controllers.changes import Change, decide_each, ensure_fields
from lab.controllers.snapshot_cache import ClusterCache, Object, annotations, get_path

ASKED = "metallb.io/loadBalancerIPs"
"""Annotation of a Service: the address that it wants."""


def decide(cache: ClusterCache) -> Iterator[Change]:
    """Gives each Service of type LoadBalancer an address, if a pool has it."""
    if cache.operator(name="metallb", component="controller") is None:
        return
    services = [item for item in cache.all("Service") if get_path(item, "spec", "type") == "LoadBalancer"]
    taken = {entry["ip"] for item in services for entry in _given(item)}
    free = [address for pool in cache.all("IPAddressPool") for address in _addresses(pool) if address not in taken]

    def give(service: Object) -> Iterator[Change]:
        asked = annotations(service).get(ASKED, free[0] if free else "")
        if not _given(service) and asked in free:
            free.remove(asked)
            status = {"loadBalancer": {"ingress": [{"ip": asked, "ipMode": "VIP"}]}}
            yield from ensure_fields(service, {"status": status}, "status")

    yield from decide_each(services, give)


def _given(service: Object) -> list[Object]:
    return list(get_path(service, "status", "loadBalancer", "ingress", default=[]))


def _addresses(pool: Object) -> list[str]:
    found: list[str] = []
    for text in get_path(pool, "spec", "addresses", default=[]):
        if "-" in text:
            first, last = (IPv4Address(part.strip()) for part in text.split("-"))
        else:
            first, last = IPv4Network(text)[0], IPv4Network(text)[-1]
        found += [str(IPv4Address(number)) for number in range(int(first), int(last) + 1)]
    return found
