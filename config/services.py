"""Settings of the operational layers: alerts, logs, backup, registry, tunnel, Rancher, power, RDMA, costs."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, HttpUrl

from config.base import Cron, DnsLabel, Duration, Email, LayerSettings, Model, Pattern, Size

SlackChannel = Annotated[
    str, Pattern(r"^#\S+$", "is not a valid Slack channel", 'write it in quotes, as in `"#cluster"`')
]
HostAndPort = Annotated[
    str,
    Pattern(r"^[A-Za-z0-9.-]+:\d{1,5}$", "is not a valid host with a port", "write it as in `smtp.campus.example:587`"),
]
S3Endpoint = Annotated[
    str,
    Pattern(
        r"^https://[a-z0-9.-]+(:\d{1,5})?$",
        "is not a valid S3 endpoint",
        "write https:// and a host, as in `https://s3.campus.example`; the bucket is a separate setting",
    ),
]
BucketName = Annotated[
    str,
    Pattern(
        r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", "is not a valid bucket name", "use a-z, 0-9, . and -, 3 to 63 characters"
    ),
]
GitRepository = Annotated[
    str,
    Pattern(r"^(https://|ssh://|git@)\S+$", "is not a valid Git repository", "start it with https://, ssh:// or git@"),
]
ResourceName = Annotated[
    str, Pattern(r"^[a-z0-9.-]+/[a-z0-9_-]+$", "is not a valid resource name", "write it as in `rdma/shared`")
]


class Slack(Model):
    """Alerts to Slack; the URL of the webhook is the secret `slack-webhook` (R34)."""

    channel: SlackChannel
    """Channel, as in `#cluster`."""


class Mail(Model):
    """Alerts by e-mail; the password, if there is one, is the secret `smtp-password` (R34)."""

    to: tuple[Email, ...] = Field(min_length=1)
    """Recipients."""
    sender: Email
    """Sender address."""
    server: HostAndPort
    """Mail server, as in `smtp.campus.example:587`."""
    user: str | None = None
    """User name at the mail server; absent means no login."""


class Notifications(Model):
    """Who receives alerts (R20)."""

    slack: Slack | None = None
    """Slack."""
    mail: Mail | None = None
    """E-mail."""
    procedure: HttpUrl | None = None
    """URL of a page with the steps to follow; every alert links to it."""


class Logging(LayerSettings):
    """Loki and Alloy (R13)."""

    enabled: bool = False
    """Whether it is installed."""
    retention: Duration = "30d"
    """How long logs are kept."""
    storage: Size = 50 * 1024
    """Size of the volume of Loki."""


SNAPSHOT_SECRET = "lyceum-etcd-s3"  # noqa: S105 - a name
"""Secret in kube-system with the bucket and the keys with which K3s uploads snapshots."""


def snapshot_folder(site: str) -> str:
    """K3s's folder in the bucket; nothing else may be in it, because K3s treats every object in it as a snapshot."""
    return f"{site}/snapshots"


class S3(Model):
    """Object storage; its keys are the secrets `s3-access-key` and `s3-secret-key`."""

    endpoint: S3Endpoint
    """Its URL: `https://s3.campus.example`. TLS cannot be skipped."""
    ca_file: Path | None = None
    """CA of its certificate, PEM, if it is not a public one."""
    bucket: BucketName
    """Name of the bucket."""
    region: str = "us-east-1"
    """Region; most S3 servers on a campus ignore it."""


class Velero(LayerSettings):
    """Backup of namespaces and volumes (R34)."""

    enabled: bool = False
    """Whether it is installed; needs `s3`."""
    schedule: Cron = "0 2 * * *"
    """When a backup starts."""
    keep_days: int = Field(default=30, ge=1)
    """Days for which a backup is kept."""


class Backup(Model):
    """Backups that survive the loss of every machine (R31, R34)."""

    s3: S3 | None = None
    """Bucket for every etcd snapshot, the engine's state, and the seed in escrow (`lyceum backup escrow`)."""
    velero: Velero = Velero()
    """Backups of namespaces and volumes."""


class Registry(LayerSettings):
    """A container registry on the cluster (R14)."""

    enabled: bool = False
    """Whether it is installed."""
    host: DnsLabel = "registry"
    """Host name under the site's domain."""
    storage: Size = 200 * 1024
    """Size of the volume of the images."""


class Tunnel(LayerSettings):
    """Cloudflare tunnel for access from the internet; its token is the secret `tunnel-token` (R17)."""

    enabled: bool = False
    """Whether it is installed; needs single sign-on."""
    hosts: tuple[DnsLabel, ...] = ("jupyter",)
    """Host names under the site's domain that are reachable from outside."""


class Repository(Model):
    """A Git repository that Fleet follows (R32)."""

    url: GitRepository
    """Its URL."""
    branch: str = "main"
    """Branch."""
    paths: tuple[str, ...] = Field(default=(".",), min_length=1)
    """Directories in it."""


class Rancher(LayerSettings):
    """Rancher: graphical management, with Fleet in it (R6, R32)."""

    enabled: bool = False
    """Whether it is installed."""
    host: DnsLabel = "rancher"
    """Host name under the site's domain."""
    fleet: tuple[Repository, ...] = ()
    """Repositories whose content Fleet applies to the cluster."""


class Power(LayerSettings):
    """Switches idle hosts off, and on again when they are needed (R41)."""

    enabled: bool = False
    """Whether idle hosts are switched off."""
    idle: int = Field(default=30, ge=5)
    """Minutes without work before a host is switched off."""
    keep: int = Field(default=1, ge=0)
    """Number of GPU workers that stay on."""


class HighThroughput(LayerSettings):
    """NVIDIA Network Operator: RDMA for pods over the sites' InfiniBand or RoCE cards (R19, R43)."""

    enabled: bool = False
    """Whether it is installed; needs hosts with such `devices`."""
    resource: ResourceName = "rdma/shared"
    """Name of the resource that a pod requests."""
    per_node: int = Field(default=63, ge=1, le=1000)
    """Number of pods that share a card."""


class Costs(LayerSettings):
    """OpenCost: cost and usage reports (R34, R40)."""

    enabled: bool = False
    """Whether it is installed."""
