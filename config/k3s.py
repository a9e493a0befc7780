"""The Kubernetes distribution."""

from typing import Annotated, Literal

from pydantic import Field, HttpUrl

from config import versions
from config.base import Cron, Domain, Model, Pattern, Sha256

K3sRelease = Annotated[
    str, Pattern(r"^v\d+\.\d+\.\d+\+k3s\d+$", "is not a valid K3s release", "write it as in `v1.36.4+k3s1`")
]
Version = Annotated[str, Pattern(r"^v\d+\.\d+\.\d+$", "is not a valid version", "write it as in `v1.2.3`")]


class Snapshots(Model):
    """etcd snapshots on the servers (R31)."""

    schedule: Cron = "0 */6 * * *"
    """Cron expression."""
    keep: int = Field(default=5, ge=1)
    """How many are kept on each server."""


class K3s(Model):
    """K3s and its API."""

    version: K3sRelease = versions.K3S
    """Release, as in `v1.36.4+k3s1`."""
    binaries: HttpUrl = HttpUrl("https://github.com/k3s-io/k3s/releases/download")
    """Where nodes download `<version>/k3s` and `<version>/sha256sum-amd64.txt`; a mirror of the same layout on closed sites."""
    sha256: Sha256 | None = None
    """Checksum of the binary; absent means the release's own checksum file, fetched over verified TLS."""
    flannel: Literal["vxlan", "host-gw", "wireguard-native"] = "vxlan"
    """Flannel's way between nodes (R5): `host-gw` is fastest on one network, `wireguard-native` encrypts."""
    api_names: tuple[Domain, ...] = ()
    """Further names in the API's certificate."""
    snapshots: Snapshots = Snapshots()
    """etcd snapshots."""
    kube_vip: Version = versions.KUBE_VIP
    """kube-vip, which holds the API address."""
    mirrors: dict[str, HttpUrl] = Field(default_factory=dict)
    """Registry -> mirror of it, as in `{docker.io: "https://mirror.campus.example"}` (R14)."""
    embedded_registry: bool = False
    """Nodes hand each other the images that they have; only among nodes that trust each other alike."""
