"""The campus network as the cluster sees it."""

from ipaddress import IPv4Address, IPv4Network

from pydantic import Field, HttpUrl

from config.base import Addresses, Cidr, DnsLabel, Domain, Hostname, Model


class Proxy(Model):
    """The campus's HTTP proxy, if there is no direct access to the web."""

    url: HttpUrl
    """The proxy: `http://proxy.campus.example:3128/`. It takes no log-in; one that does belongs on a local relay."""
    bypass: tuple[str, ...] = ()
    """Names and networks that are reached directly, besides the site's own."""


class Network(Model):
    """Addresses, names and the VLAN."""

    cidr: Cidr
    """The network that nodes live in."""
    gateway: IPv4Address
    """Where traffic leaves it."""
    dns: tuple[IPv4Address, ...] = Field(min_length=1)
    """Name servers, best first."""
    search: Domain | None = None
    """DNS search domain of the nodes; the site's domain if absent."""
    vlan: int | None = Field(default=None, ge=1, le=4094)
    """VLAN tag of the nodes; absent means untagged."""
    bridge: DnsLabel = "vmbr0"
    """Proxmox bridge that nodes are attached to."""
    mtu: int | None = Field(default=None, ge=1280, le=9216)
    """Set where the campus network is not 1500."""
    api_address: IPv4Address
    """Where the Kubernetes API answers; moves among the servers (kube-vip)."""
    load_balancers: Addresses
    """Addresses MetalLB may give out."""
    ingress_address: IPv4Address | None = None
    """The ingress's address within `load-balancers`; the first of them if absent."""
    reserved: tuple[Addresses, ...] = ()
    """Campus addresses that Lyceum must not use (DHCP ranges, printers, other machines)."""
    pods: Cidr = IPv4Network("10.42.0.0/16")
    """Pod addresses (R21)."""
    services: Cidr = IPv4Network("10.43.0.0/16")
    """Service addresses (R21)."""
    ntp: tuple[Hostname, ...] = ()
    """Time servers; absent means those of the image. etcd and TLS need clocks that agree (R22)."""
    proxy: Proxy | None = None
    """Web proxy of the nodes."""
