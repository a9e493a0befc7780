"""Settings of the campus network."""

from ipaddress import IPv4Address, IPv4Network

from pydantic import Field, HttpUrl

from config.base import Addresses, Cidr, DnsLabel, Domain, Hostname, Model


class Proxy(Model):
    """The campus's web proxy, where there is no direct access to the internet."""

    url: HttpUrl
    """The proxy: `http://proxy.campus.example:3128/`. It must not need a login; put a relay in front of one that does."""
    bypass: tuple[str, ...] = ()
    """Names and networks that are reached without the proxy, in addition to the site's own."""


class Network(Model):
    """Addresses, names and the VLAN."""

    cidr: Cidr
    """Network of the nodes."""
    gateway: IPv4Address
    """Default gateway of the nodes."""
    dns: tuple[IPv4Address, ...] = Field(min_length=1)
    """Name servers, the preferred one first."""
    search: Domain | None = None
    """DNS search domain of the nodes; the site's domain if absent. Pods have none."""
    vlan: int | None = Field(default=None, ge=1, le=4094)
    """VLAN tag of the nodes; absent means untagged."""
    bridge: DnsLabel = "vmbr0"
    """Proxmox bridge that the nodes are attached to."""
    mtu: int | None = Field(default=None, ge=1280, le=9216)
    """MTU of the nodes; set it where the campus network's is not 1500."""
    api_address: IPv4Address
    """Virtual address of the Kubernetes API; kube-vip moves it between the servers."""
    load_balancers: Addresses
    """Addresses that MetalLB may assign to Services."""
    ingress_address: IPv4Address | None = None
    """Address of the ingress, one of `load-balancers`; the first of them if absent."""
    reserved: tuple[Addresses, ...] = ()
    """Addresses that Lyceum may not use (DHCP ranges, printers, other machines)."""
    pods: Cidr = IPv4Network("10.42.0.0/16")
    """Network of the Pods (R21)."""
    services: Cidr = IPv4Network("10.43.0.0/16")
    """Network of the Services (R21)."""
    ntp: tuple[Hostname, ...] = ()
    """Time servers; absent means those of the image. etcd and TLS need synchronized clocks (R22)."""
    proxy: Proxy | None = None
    """Web proxy of the nodes."""
