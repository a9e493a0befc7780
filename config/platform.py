"""The layers between the cluster and the people; each can be switched off."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from config.base import Model, Size


class Layer(Model):
    """A layer that can be switched off."""

    enabled: bool = True
    """Whether it is installed."""


class Issuer(StrEnum):
    """Who signs certificates."""

    INTERNAL = "internal"
    """A CA made for this cluster."""
    FILES = "files"
    """A wildcard certificate that the IT department hands over (R25)."""
    ACME = "acme"
    """Let's Encrypt or another ACME server."""


class Certificates(Layer):
    """cert-manager and its ClusterIssuer."""

    issuer: Issuer = Issuer.INTERNAL
    """Who signs."""
    certificate_file: Path | None = None
    """With `files`: the wildcard certificate with its chain, PEM."""
    acme_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    """With `acme`: whom the CA may write to."""


class Ingress(Layer):
    """ingress-nginx as a DaemonSet on the workers (R24). Upstream retired it in March 2026; see docs/adr."""


class CephPool(Model):
    """Replication of what Ceph stores."""

    replicas: int = Field(default=3, ge=1, le=5)
    """Copies, each on another machine."""
    accept_data_loss: bool = False
    """Must be true where `replicas` is 1: one broken disk loses data."""


class Ceph(Layer):
    """Rook-Ceph on the nodes whose shape has a `ceph` disk (R4)."""

    pool: CephPool = CephPool()
    """Replication."""
    filesystem: bool = True
    """A shared file system (RWX) beside block volumes."""
    monitors: int = Field(default=3, ge=1, le=5)
    """Ceph monitors; odd."""


class Nfs(Model):
    """An NFS export of the campus (R26)."""

    server: str
    """Host name or address."""
    share: str = Field(pattern=r"^/")
    """Exported path."""


class Storage(Model):
    """Where data lives."""

    ceph: Ceph = Ceph()
    """Replicated storage on our own disks."""
    nfs: Nfs | None = None
    """Homes on the campus NFS, as storage class `nfs-client`."""


class GpuOperator(Layer):
    """NVIDIA GPU Operator (R28)."""

    driver: str | None = Field(default=None, pattern=r"^\d+\.\d+(\.\d+)?$")
    """Driver version; absent means the chart's own."""
    precompiled: bool = False
    """Use precompiled drivers: no compiler and no package mirror needed on the nodes."""


class Monitoring(Layer):
    """Prometheus, Alertmanager, Grafana (R29)."""

    retention: str = Field(default="15d", pattern=r"^\d+[hdwy]$")
    """How long metrics are kept."""
    storage: Size = 50 * 1024
    """Volume of Prometheus."""
    scrape_interval: str = Field(default="30s", pattern=r"^\d+[sm]$")
    """R29."""


class Platform(Model):
    """Everything between Kubernetes and the workspaces."""

    metallb: Layer = Layer()
    """Addresses for Services (R24)."""
    certificates: Certificates = Certificates()
    """TLS."""
    ingress: Ingress = Ingress()
    """The way in."""
    storage: Storage = Storage()
    """Volumes."""
    gpu_operator: GpuOperator = GpuOperator()
    """Drivers, device plugin, MIG, time-slicing."""
    queues: Layer = Layer()
    """Kueue (R36)."""
    monitoring: Monitoring = Monitoring()
    """Metrics and dashboards."""
