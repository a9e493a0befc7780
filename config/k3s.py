"""Settings of K3s."""

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
    """When a snapshot is taken, as a cron expression."""
    keep: int = Field(default=5, ge=1)
    """Number of snapshots kept on each server."""


class K3s(Model):
    """K3s and its API."""

    version: K3sRelease = versions.K3S
    """Release, as in `v1.36.4+k3s1`."""
    binaries: HttpUrl = HttpUrl("https://github.com/k3s-io/k3s/releases/download")
    """Base URL from which nodes download `<version>/k3s` and `<version>/sha256sum-amd64.txt`; a mirror with the same layout on sites without internet access."""
    sha256: Sha256 | None = None
    """SHA-256 checksum of the binary; absent means that of the release's checksum file, downloaded over verified TLS."""
    flannel: Literal["vxlan", "host-gw", "wireguard-native"] = "vxlan"
    """Flannel backend (R5): `host-gw` is the fastest within one network, `wireguard-native` encrypts."""
    api_names: tuple[Domain, ...] = ()
    """Additional names in the API's certificate."""
    snapshots: Snapshots = Snapshots()
    """etcd snapshots."""
    kube_vip: Version = versions.KUBE_VIP
    """Version of kube-vip, which serves the API address."""
    mirrors: dict[str, HttpUrl] = Field(default_factory=dict)
    """Registry -> URL of its mirror, as in `{docker.io: "https://mirror.campus.example"}` (R14)."""
    embedded_registry: bool = False
    """Whether nodes share the container images that they have with each other (K3s's embedded registry mirror)."""
