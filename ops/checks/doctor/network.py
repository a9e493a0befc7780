"""Bridges, VLANs, free addresses and DNS names."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from config.finding import Finding
from config.hosts import Node, Role
from config.rules.names import page_labels
from config.site import Site
from ops.checks.doctor.finding import failed, passed, unknown
from ops.checks.doctor.probe import Network
from ops.clients.proxmox import ProxmoxApi

AT_ONCE = 32


def check_bridges(pve: ProxmoxApi, site: Site, nodes: tuple[Node, ...]) -> Iterator[Finding]:
    """Every host has the bridge, it is up, and it carries the VLAN."""
    wrong = 0
    name, vlan = site.network.bridge, site.network.vlan
    hosts = list(dict.fromkeys(node.host for node in nodes))
    for host in hosts:
        found = {entry["iface"]: entry for entry in pve.call("GET", f"nodes/{host}/network", type="any_bridge")}
        bridge = found.get(name)
        if bridge is None:
            wrong += 1
            there = f"; its bridges: {', '.join(sorted(found))}" if found else ""
            remedy = "correct `network.bridge`, or create it: Node > System > Network > Create > Linux Bridge"
            yield failed("bridge", f"{host} has no bridge {name}{there}", remedy)
        elif not bridge.get("active"):
            wrong += 1
            yield failed("bridge", f"{name} of {host} is down", f"on {host}: `ifreload -a; ip link show {name}`")
        elif vlan is not None and not bridge.get("bridge_vlan_aware") and bridge.get("type") == "bridge":
            wrong += 1
            command = f"pvesh set /nodes/{host}/network/{name} --type bridge --bridge_vlan_aware 1; pvesh set /nodes/{host}/network"
            yield failed("bridge", f"{name} of {host} is not VLAN-aware, and the site uses VLAN {vlan}", command)
    if not wrong:
        yield passed("bridge", f"{name} is on {len(hosts)} host(s)" + (f" and carries VLAN {vlan}" if vlan else ""))


def check_addresses(pve: ProxmoxApi, site: Site, nodes: tuple[Node, ...], network: Network) -> Iterator[Finding]:
    """What does not exist yet has an address that nobody has (R35)."""
    existing = {int(vm["vmid"]) for vm in pve.call("GET", "cluster/resources", type="vm")}
    wanted = {node.address: node.name for node in nodes if node.vm_id not in existing}
    if not any(node.vm_id in existing for node in nodes if node.role is Role.SERVER):
        wanted[site.network.api_address] = "the Kubernetes API"
        wanted |= dict.fromkeys(site.network.load_balancers, "Services (network.load-balancers)")
    with ThreadPoolExecutor(AT_ONCE) as workers:
        held = dict(zip(wanted, workers.map(network.find_holder, wanted), strict=True))
    for address, holder in held.items():
        if holder:
            remedy = "find that machine, or use another address; `network.reserved` keeps ranges of the campus free"
            yield failed("addresses", f"{address}, meant for {wanted[address]}, is answered by {holder}", remedy)
    if not any(held.values()):
        yield passed("addresses", f"nothing answers at the {len(wanted)} address(es) that will be assigned")


def check_names(site: Site, network: Network) -> Iterator[Finding]:
    """The name servers answer, and give the ingress's address for the site's pages."""
    ingress = site.network.ingress_address or site.network.load_balancers.first
    labels = [label for _, label in page_labels(site)] or ["any"]
    page = f"{labels[0]}.{site.domain}"
    if site.simulated:
        yield unknown("dns", "the embedded campus has no name server; its hosts file answers")
        return
    wrong = 0
    for server in site.network.dns:
        found = network.resolve(server, page)
        if found is None:
            wrong += 1
            remedy = f"`dig @{server} {site.domain}`; correct `network.dns`, or open port 53 in between"
            yield failed("dns", f"the name server {server} does not answer", remedy)
        elif str(ingress) not in found:
            wrong += 1
            said = f"to {', '.join(found)}, not " if found else "to "
            remedy = f"ask for the record `*.{site.domain}. A {ingress}`"
            yield failed("dns", f"{page} does not resolve {said}{ingress} at {server}", remedy)
    if not wrong:
        yield passed("dns", f"{page} resolves to {ingress} at {len(site.network.dns)} server(s)")
