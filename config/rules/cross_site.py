"""Sites that share a network or a Proxmox cluster must not use the same addresses, VMIDs or pools."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from config.finding import FieldPath, Finding
from config.rules.addresses import claimed_addresses
from config.site import Site


def check_collisions(site: Site, others: Iterable[Site]) -> Iterator[Finding]:
    """Collisions of a valid site with other valid sites; a simulated site collides with none."""
    for other in others:
        if other.name == site.name:
            yield Finding(("name",), f"is also the name of {other.title}", "give each site a different one")
        if site.simulated or other.simulated:
            continue
        if site.network.vlan == other.network.vlan and site.network.cidr.overlaps(other.network.cidr):
            yield from _check_shared_network(site, other)
        if site.proxmox.endpoint == other.proxmox.endpoint:
            yield from _check_shared_proxmox(site, other)


def _check_shared_network(site: Site, other: Site) -> Iterator[Finding]:
    theirs: dict[IPv4Address, str] = {
        address: claim.owner for address, claim in claimed_addresses(other) if not claim.campus
    }
    for address, claim in claimed_addresses(site):
        if not claim.campus and address in theirs:
            rule = f"is also the address of {theirs[address]} of {other.name}, on the same network"
            yield Finding(claim.path, rule, "choose a free address", value=str(address))
        elif not claim.campus and address in other.network.load_balancers:
            rule = f"is one of network.load-balancers {other.network.load_balancers} of {other.name}"
            yield Finding(claim.path, rule, "choose a free address", value=str(address))
    mine, pool = site.network.load_balancers, other.network.load_balancers
    path: FieldPath = ("network", "load-balancers")
    if mine.first <= pool.last and pool.first <= mine.last:
        yield Finding(path, f"overlaps {pool}, those of {other.name}", "move one of them")
    elif used := [f"{address} ({owner})" for address, owner in theirs.items() if address in mine]:
        yield Finding(path, f"contains {used[0]} of {other.name}, on the same network", "move one of them")
    macs = {node.mac: node.name for node in other.machines}
    addresses = set(theirs)
    for node in site.machines:
        if node.mac in macs and node.address not in addresses:
            rule = f"of {node.name} is also the MAC address of {macs[node.mac]} of {other.name}"
            yield Finding(("nodes",), rule, "set a different one", value=node.mac)


def _check_shared_proxmox(site: Site, other: Site) -> Iterator[Finding]:
    if site.proxmox.pool == other.proxmox.pool:
        rule = f"is also the pool of {other.name} on the same Proxmox"
        yield Finding(("proxmox", "pool"), rule, "give each site a different one", value=site.proxmox.pool)
    ids = {node.vm_id: node.name for node in other.machines}
    for node in site.machines:
        if node.vm_id in ids:
            rule = f"of {node.name} is also the VMID of {ids[node.vm_id]} of {other.name} on the same Proxmox"
            yield Finding(("nodes",), rule, "set `vm-id`", value=node.vm_id)
            return
