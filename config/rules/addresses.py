"""Addresses: each is used once, and each lies in the network where it is reachable (R35)."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from config.base import AddressRange, expand_range
from config.finding import FieldPath, Finding
from config.site import Site

CHOOSE_FREE = "choose a free address"
MAX_SEARCHED_IDS = 100_000


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """An address that somebody uses.

    Attributes:
        owner: Who, as shown to people: `gpu-1`, `the gateway`.
        path: The setting that says so.
        campus: True for services of the campus (gateway, name servers): one machine may have several of them.
    """

    owner: str
    path: FieldPath
    campus: bool = False


def claimed_addresses(site: Site) -> Iterator[tuple[IPv4Address, AddressClaim]]:
    """Every address in use; of two claims to one address, the later one is reported."""
    network = site.network
    yield network.gateway, AddressClaim("the gateway", ("network", "gateway"), campus=True)
    for index, server in enumerate(network.dns):
        yield server, AddressClaim("a name server", ("network", "dns", index), campus=True)
    for url, path in (
        (site.proxmox.image.url, ("proxmox", "image", "url")),
        (site.k3s.binaries, ("k3s", "binaries")),
    ):
        if address := _address_of_url(url.host):
            yield address, AddressClaim("a mirror", path, campus=True)
    yield network.api_address, AddressClaim("the Kubernetes API", ("network", "api-address"))
    for index, host in enumerate(site.hosts):
        for field, what in (("address", ""), ("bmc", "the management controller of ")):
            pattern = getattr(host, field)
            for name, text in zip(expand_range(host.name), expand_range(pattern) if pattern else [], strict=False):
                yield IPv4Address(text), AddressClaim(f"{what}{name}", ("hosts", index, field))
    for index, node in enumerate(site.nodes):
        for name, text in zip(expand_range(node.name), expand_range(node.address), strict=True):
            yield IPv4Address(text), AddressClaim(name, ("nodes", index, "address"))


def _address_of_url(host: str | None) -> IPv4Address | None:
    try:
        return IPv4Address(host or "")
    except ValueError:
        return None


def check_unique_addresses(site: Site) -> Iterator[Finding]:
    """Each address is used once."""
    taken: dict[IPv4Address, AddressClaim] = {}
    for address, claim in claimed_addresses(site):
        other = taken.setdefault(address, claim)
        if other is not claim and not (other.campus and claim.campus):
            rule = f"of {claim.owner} is also the address of {other.owner}"
            yield Finding(claim.path, rule, CHOOSE_FREE, value=str(address))


def check_network_membership(site: Site) -> Iterator[Finding]:
    """The gateway, the API and MetalLB's addresses lie in the nodes' network (they answer ARP there); no address is its first or last."""
    network = site.network
    fixed: list[tuple[FieldPath, IPv4Address]] = [
        (("network", "gateway"), network.gateway),
        (("network", "api-address"), network.api_address),
        (("network", "load-balancers"), network.load_balancers.first),
        (("network", "load-balancers"), network.load_balancers.last),
    ]
    machines = [
        (claim.path, address) for address, claim in claimed_addresses(site) if claim.path[0] in {"nodes", "hosts"}
    ]
    for path, address in fixed:
        if address not in network.cidr:
            rule = f"is outside network.cidr {network.cidr}"
            yield Finding(path, rule, "choose an address within it", value=str(address))
            break
    for path, address in [*fixed, *machines]:
        if address in {network.cidr.network_address, network.cidr.broadcast_address}:
            yield Finding(
                path, f"is the network or broadcast address of {network.cidr}", CHOOSE_FREE, value=str(address)
            )


def check_address_pools(site: Site) -> Iterator[Finding]:
    """MetalLB's addresses and the campus's reserved ranges contain no address in use."""
    network = site.network
    ranges: list[tuple[FieldPath, AddressRange, str, bool]] = [
        (("network", "load-balancers"), network.load_balancers, "is for Services, but contains", True),
        *(
            (("network", "reserved", index), reserved, "is reserved by the campus, but contains", False)
            for index, reserved in enumerate(network.reserved)
        ),
    ]
    found = list(claimed_addresses(site))
    for path, pool, rule, campus_too in ranges:
        used = [
            f"{address} ({claim.owner})"
            for address, claim in found
            if address in pool and (campus_too or not (claim.campus or claim.path[0] == "hosts"))
        ]
        if used:
            shown = ", ".join(used[:3]) + (f" and {len(used) - 3} more" if len(used) > 3 else "")
            yield Finding(path, f"{rule} {shown}", "move one of them")
    for index, reserved in enumerate(network.reserved):
        if reserved.first <= network.load_balancers.last and network.load_balancers.first <= reserved.last:
            rule = f"overlaps network.load-balancers {network.load_balancers}"
            yield Finding(("network", "reserved", index), rule, "move one of them")
    if network.ingress_address and network.ingress_address not in network.load_balancers:
        rule = f"is not one of network.load-balancers {network.load_balancers}"
        yield Finding(("network", "ingress-address"), rule, "choose one of them")


def check_network_overlaps(site: Site) -> Iterator[Finding]:
    """The networks of Pods, of Services and of the campus do not overlap."""
    network = site.network
    mine = (("pods", network.pods), ("services", network.services))
    for field, cidr in mine:
        outside = [("the network of the nodes", network.cidr), *_name_server_networks(site)]
        if field == "services":
            outside.append(("network.pods", network.pods))
        for owner, other in outside:
            if cidr.overlaps(other):
                default = {"pods": "10.42.0.0/16", "services": "10.43.0.0/16"}[field]
                remedy = "use another free network" if str(cidr) == default else f"try {default}"
                yield Finding(("network", field), f"overlaps {owner} {other}", remedy, value=str(cidr))
                break
    for field, cidr, most in (("pods", network.pods, 22), ("services", network.services, 24)):
        if cidr.prefixlen > most:
            yield Finding(("network", field), "is too small", f"use a /{most} or larger")


def _name_server_networks(site: Site) -> list[tuple[str, IPv4Network]]:
    return [("the name server", IPv4Network(server)) for server in site.network.dns]


def check_hardware_addresses(site: Site) -> Iterator[Finding]:
    """MAC addresses are unique unicast addresses; VMIDs are unique."""
    macs: dict[str, str] = {}
    for index, host in enumerate(site.hosts):
        for name, mac in zip(expand_range(host.name), expand_range(host.mac) if host.mac else [], strict=False):
            yield from _check_mac(macs, mac.lower(), name, ("hosts", index, "mac"))
    ids: dict[int, str] = {}
    addresses: set[IPv4Address] = set()
    for index, node in site.nodes_by_group:
        if node.address in addresses:
            continue  # reported by `check_unique_addresses`; what is derived from the address would repeat it
        addresses.add(node.address)
        yield from _check_mac(macs, node.mac, node.name, ("nodes", index, "mac"))
        other = ids.setdefault(node.vm_id, node.name)
        if other != node.name:
            free = next(number for number in range(node.vm_id, node.vm_id + MAX_SEARCHED_IDS) if number not in ids)
            rule = f"of {node.name} is also the VMID of {other}"
            yield Finding(("nodes", index, "vm-id"), rule, f"set a different one; free: {free}", value=node.vm_id)


def _check_mac(taken: dict[str, str], mac: str, name: str, path: FieldPath) -> Iterator[Finding]:
    other = taken.setdefault(mac, name)
    if other != name:
        yield Finding(path, f"of {name} is also the MAC address of {other}", "set a different one", value=mac)
    if int(mac[:2], 16) & 1:
        yield Finding(path, "is a multicast address", "use one whose first byte is even, as in `02:…`", value=mac)
