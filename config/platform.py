"""The layers between the cluster and the people; each can be switched off."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl

from config.base import DnsLabel, Duration, Email, Hostname, LayerSettings, Model, Pattern, Size
from config.services import (
    Backup,
    Costs,
    HighThroughput,
    Logging,
    Notifications,
    Power,
    Rancher,
    Registry,
    Tunnel,
)

ExportedPath = Annotated[str, Pattern(r"^/\S*$", "is not a valid path", "start it with /")]
DriverVersion = Annotated[
    str, Pattern(r"^\d+\.\d+(\.\d+)?$", "is not a valid driver version", "write it as in `595.91.07`, in quotes")
]


class Issuer(StrEnum):
    """Who signs certificates."""

    INTERNAL = "internal"
    """A CA made for this cluster."""
    FILES = "files"
    """A wildcard certificate that the IT department hands over (R25)."""
    ACME = "acme"
    """Let's Encrypt or another ACME server."""


class Certificates(LayerSettings):
    """cert-manager and its ClusterIssuer."""

    issuer: Issuer = Issuer.INTERNAL
    """Who signs."""
    certificate_file: Path | None = None
    """With `files`: the wildcard certificate with its chain, PEM; its key is the secret `certificate-key`."""
    acme_email: Email | None = None
    """With `acme`: whom the CA may write to."""
    acme_server: HttpUrl = HttpUrl("https://acme-v02.api.letsencrypt.org/directory")
    """With `acme`: the server's directory."""


class Ingress(LayerSettings):
    """ingress-nginx as a DaemonSet on the workers (R24). Upstream retired it in March 2026; see docs/adr."""


class CephPool(Model):
    """Replication of what Ceph stores."""

    replicas: int = Field(default=3, ge=1, le=5)
    """Copies, each on another machine."""
    accept_data_loss: bool = False
    """Must be true where `replicas` is 1: one broken disk loses data."""


class Ceph(LayerSettings):
    """Rook-Ceph on the nodes whose shape has a `ceph` disk (R4)."""

    pool: CephPool = CephPool()
    """Replication."""
    filesystem: bool = True
    """A shared file system (RWX) beside block volumes."""
    monitors: int = Field(default=3, ge=1, le=5)
    """Ceph monitors; odd."""


class Nfs(Model):
    """An NFS export of the campus (R26)."""

    server: Hostname
    """Host name or address."""
    share: ExportedPath
    """Exported path."""


class Storage(Model):
    """Storage for volumes."""

    ceph: Ceph = Ceph()
    """Replicated storage on our own disks."""
    nfs: Nfs | None = None
    """Homes on the campus NFS, as storage class `nfs-client`."""
    datasets: Nfs | None = None
    """Data that everybody reads, mounted as `/datasets` (R26, R39)."""


class GpuOperator(LayerSettings):
    """NVIDIA GPU Operator (R28)."""

    driver: DriverVersion | None = None
    """Driver version; absent means the chart's own."""
    precompiled: bool = False
    """Use precompiled drivers: no compiler and no package mirror needed on the nodes."""


class WorkloadPriority(Model):
    """A priority of jobs (R36)."""

    name: DnsLabel
    """Its name."""
    value: int = Field(ge=-1_000_000, le=1_000_000)
    """The higher goes first, and may displace the lower."""


class Queue(Model):
    """A share of the cluster that jobs wait for (R36)."""

    name: DnsLabel
    """Its name."""
    tenants: tuple[DnsLabel, ...] = Field(min_length=1)
    """Who may use it."""
    cores: int | None = Field(default=None, gt=0)
    """Virtual CPUs; absent means what the tenants' quotas allow."""
    memory: Size | None = None
    """Memory; absent means what the tenants' quotas allow."""
    gpus: dict[str, int] = Field(default_factory=dict)
    """GPUs by kind: `{rtx-4090: 10}`; together the queues never promise more than there is."""
    borrow: bool = True
    """Whether it may use what other queues leave idle."""


class Queues(LayerSettings):
    """Kueue: gang scheduling, priorities, preemption (R7, R36)."""

    queues: tuple[Queue, ...] = ()
    """Shares; absent means one queue over everything."""
    priorities: tuple[WorkloadPriority, ...] = (
        WorkloadPriority(name="interactive", value=1000),
        WorkloadPriority(name="batch", value=100),
        WorkloadPriority(name="idle", value=-100),
    )
    """Orders of precedence, the highest first."""
    preemption: bool = True
    """Whether a job may displace one of lower priority."""


class Monitoring(LayerSettings):
    """Prometheus, Alertmanager, Grafana (R29)."""

    retention: Duration = "15d"
    """How long metrics are kept."""
    storage: Size = 50 * 1024
    """Volume of Prometheus."""
    scrape_interval: Duration = "30s"
    """How often values are read (R29)."""
    notifications: Notifications = Notifications()
    """Who is notified when something breaks (R20, R34)."""


class Platform(Model):
    """Everything between Kubernetes and the workspaces."""

    metallb: LayerSettings = LayerSettings()
    """Addresses for Services (R24)."""
    certificates: Certificates = Certificates()
    """TLS."""
    ingress: Ingress = Ingress()
    """The way in."""
    storage: Storage = Storage()
    """Volumes."""
    gpu_operator: GpuOperator = GpuOperator()
    """Drivers, device plugin, MIG, time-slicing."""
    queues: Queues = Queues()
    """Who computes when."""
    monitoring: Monitoring = Monitoring()
    """Metrics and dashboards."""
    logging: Logging = Logging()
    """Logs of every node and pod (R13)."""
    backup: Backup = Backup()
    """What survives a fire (R31, R34)."""
    registry: Registry = Registry()
    """Container images of the site's own (R14)."""
    tunnel: Tunnel = Tunnel()
    """Access from anywhere (R17)."""
    rancher: Rancher = Rancher()
    """Graphical management and GitOps (R6, R32)."""
    high_throughput: HighThroughput = HighThroughput()
    """RDMA between nodes (R19, R43)."""
    power: Power = Power()
    """Machines that sleep when nobody needs them (R41)."""
    costs: Costs = Costs()
    """Record of use (R34, R40)."""
