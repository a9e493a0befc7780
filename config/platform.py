"""Settings of the platform layers on Kubernetes; each can be disabled."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, HttpUrl, model_validator

from config.base import DnsLabel, Duration, Email, Hostname, InvalidValueError, LayerSettings, Model, Pattern, Size
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
    str,
    Pattern(
        r"^\d+(\.\d+(\.\d+)?)?$",
        "is not a valid driver version",
        "write it as in `595.91.07`, in quotes; with `precompiled` its branch: `595`",
    ),
]


class Issuer(StrEnum):
    """Who issues certificates."""

    INTERNAL = "internal"
    """A CA that Lyceum creates for this cluster."""
    FILES = "files"
    """A wildcard certificate from the IT department (R25)."""
    ACME = "acme"
    """Let's Encrypt or another ACME server."""


class Certificates(LayerSettings):
    """cert-manager and its ClusterIssuer."""

    issuer: Issuer = Issuer.INTERNAL
    """Who issues the certificates."""
    certificate_file: Path | None = None
    """With `files`: the wildcard certificate with its chain, PEM; its key is the secret `certificate-key`."""
    acme_email: Email | None = None
    """With `acme`: e-mail address that the CA may write to."""
    acme_server: HttpUrl = HttpUrl("https://acme-v02.api.letsencrypt.org/directory")
    """With `acme`: the server's directory."""


class Ingress(LayerSettings):
    """ingress-nginx as a DaemonSet on the workers (R24). Upstream retired it in March 2026; see docs/adr."""


class CephPool(Model):
    """Replication of Ceph's pools."""

    replicas: int = Field(default=3, ge=1, le=5)
    """Number of copies, each on a different host."""
    accept_data_loss: bool = False
    """Must be true where `replicas` is 1: one failed disk loses data."""


class Ceph(LayerSettings):
    """Rook-Ceph on the nodes whose shape has a `ceph` disk (R4)."""

    pool: CephPool = CephPool()
    """Replication."""
    filesystem: bool = True
    """Whether there is a shared file system (RWX) in addition to block volumes."""
    monitors: int = Field(default=3, ge=1, le=5)
    """Number of Ceph monitors; odd."""


class Nfs(Model):
    """An NFS export of the campus (R26)."""

    server: Hostname
    """Host name or address."""
    share: ExportedPath
    """Exported path."""


class Storage(Model):
    """Storage for volumes."""

    ceph: Ceph = Ceph()
    """Replicated storage on the disks of the nodes."""
    nfs: Nfs | None = None
    """NFS export of the campus for home directories, as storage class `nfs-client`."""
    datasets: Nfs | None = None
    """NFS export with shared datasets, mounted as `/datasets` (R26, R39)."""


class GpuOperator(LayerSettings):
    """NVIDIA GPU Operator (R28)."""

    driver: DriverVersion | None = None
    """Driver version; absent means the chart's own. With `precompiled` the branch, as in `595`."""
    precompiled: bool = False
    """Whether to use precompiled drivers, which need no compiler and no package mirror on the nodes; they need `driver`."""

    @model_validator(mode="after")
    def _driver_is_a_branch_if_precompiled(self) -> Self:
        """Precompiled images are tagged `<branch>-<kernel>-<os>`, others `<version>-<os>` (gpu-operator, getImagePath)."""
        branch = self.driver is not None and "." not in self.driver
        if self.precompiled and self.driver is None:
            raise InvalidValueError("has `precompiled` without a driver's branch", 'add it, as in `driver: "595"`')
        if self.precompiled and not branch:
            major = str(self.driver).partition(".")[0]
            rule = f"has the driver version {self.driver}, for which there is no precompiled image"
            raise InvalidValueError(rule, f'name its branch: `driver: "{major}"`')
        if branch and not self.precompiled:
            rule = f"has the driver branch {self.driver}, for which there is only a precompiled image"
            raise InvalidValueError(rule, "write a full version, as in `595.91.07`, or set `precompiled: true`")
        return self


class WorkloadPriority(Model):
    """A priority class for jobs (R36)."""

    name: DnsLabel
    """Its name."""
    value: int = Field(ge=-1_000_000, le=1_000_000)
    """A job with a higher value starts first, and may preempt one with a lower value."""


class Queue(Model):
    """A queue of jobs with a share of the cluster (R36)."""

    name: DnsLabel
    """Its name."""
    tenants: tuple[DnsLabel, ...] = Field(min_length=1)
    """Tenants that may use it."""
    cores: int | None = Field(default=None, gt=0)
    """Virtual CPUs; absent means what the tenants' quotas allow."""
    memory: Size | None = None
    """Memory; absent means what the tenants' quotas allow."""
    gpus: dict[str, int] = Field(default_factory=dict)
    """GPUs by kind: `{rtx-4090: 10}`; together the queues may not exceed what exists."""
    borrow: bool = True
    """Whether it may use the idle shares of other queues."""


class Queues(LayerSettings):
    """Kueue: gang scheduling, priorities, preemption (R7, R36)."""

    queues: tuple[Queue, ...] = ()
    """Queues; absent means one queue for the whole cluster."""
    priorities: tuple[WorkloadPriority, ...] = (
        WorkloadPriority(name="interactive", value=1000),
        WorkloadPriority(name="batch", value=100),
        WorkloadPriority(name="idle", value=-100),
    )
    """Priority classes, the highest first."""
    preemption: bool = True
    """Whether a job may preempt one of lower priority."""


class Monitoring(LayerSettings):
    """Prometheus, Alertmanager, Grafana (R29)."""

    retention: Duration = "15d"
    """How long metrics are kept."""
    storage: Size = 50 * 1024
    """Size of the volume of Prometheus."""
    scrape_interval: Duration = "30s"
    """Interval between two scrapes (R29)."""
    notifications: Notifications = Notifications()
    """Who receives alerts (R20, R34)."""


class Platform(Model):
    """The layers between Kubernetes and the workspaces."""

    metallb: LayerSettings = LayerSettings()
    """MetalLB: addresses for Services (R24)."""
    certificates: Certificates = Certificates()
    """TLS certificates."""
    ingress: Ingress = Ingress()
    """HTTP access from the campus network."""
    storage: Storage = Storage()
    """Volumes."""
    gpu_operator: GpuOperator = GpuOperator()
    """Drivers, device plugin, MIG, time-slicing."""
    queues: Queues = Queues()
    """Queues and priorities of jobs."""
    monitoring: Monitoring = Monitoring()
    """Metrics and dashboards."""
    logging: Logging = Logging()
    """Logs of every node and pod (R13)."""
    backup: Backup = Backup()
    """Backups outside the cluster (R31, R34)."""
    registry: Registry = Registry()
    """A container registry (R14)."""
    tunnel: Tunnel = Tunnel()
    """Access from the internet (R17)."""
    rancher: Rancher = Rancher()
    """Graphical management and GitOps (R6, R32)."""
    high_throughput: HighThroughput = HighThroughput()
    """RDMA between nodes (R19, R43)."""
    power: Power = Power()
    """Switching off idle hosts (R41)."""
    costs: Costs = Costs()
    """Cost and usage reports (R34, R40)."""
