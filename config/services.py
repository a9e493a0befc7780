"""Layers that look after the others: backup, logs, alarms, images, the way in from outside, power."""

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
    """From whom."""
    server: HostAndPort
    """Mail server, as in `smtp.campus.example:587`."""
    user: str | None = None
    """Log-in at the mail server; absent means none is needed."""


class Notifications(Model):
    """Who is notified when something breaks (R20)."""

    slack: Slack | None = None
    """Slack."""
    mail: Mail | None = None
    """E-mail."""
    procedure: HttpUrl | None = None
    """Page with the steps to follow; linked from every alarm."""


class Logging(LayerSettings):
    """Loki and Alloy (R13)."""

    enabled: bool = False
    """Whether it is installed."""
    retention: Duration = "30d"
    """How long logs are kept."""
    storage: Size = 50 * 1024
    """Volume of Loki."""


SNAPSHOT_SECRET = "lyceum-etcd-s3"  # noqa: S105 - a name
"""Secret of kube-system that tells K3s where snapshots go and with which keys."""


def snapshot_folder(site: str) -> str:
    """K3s's folder in the bucket, where nothing else may lie: it takes every object in it for a snapshot."""
    return f"{site}/snapshots"


class S3(Model):
    """Object storage; its keys are the secrets `s3-access-key` and `s3-secret-key`."""

    endpoint: S3Endpoint
    """Its URL: `https://s3.campus.example`. TLS cannot be disabled."""
    ca_file: Path | None = None
    """CA of its certificate, if it is not a public one."""
    bucket: BucketName
    """Bucket."""
    region: str = "us-east-1"
    """Region; most campus stores ignore it."""


class Velero(LayerSettings):
    """Backup of namespaces and volumes (R34)."""

    enabled: bool = False
    """Whether it is installed; needs `s3`."""
    schedule: Cron = "0 2 * * *"
    """When."""
    keep_days: int = Field(default=30, ge=1)
    """How long a backup is kept."""


class Backup(Model):
    """What survives the loss of every machine (R31, R34)."""

    s3: S3 | None = None
    """Where it goes: every etcd snapshot, the engine's state, and the seed in escrow (`lyceum backup escrow`)."""
    velero: Velero = Velero()
    """Namespaces and volumes."""


class Registry(LayerSettings):
    """A registry of the site's own (R14)."""

    enabled: bool = False
    """Whether it is installed."""
    host: DnsLabel = "registry"
    """Host name under the site's domain."""
    storage: Size = 200 * 1024
    """Volume of the images."""


class Tunnel(LayerSettings):
    """Cloudflare tunnel: access from anywhere; its token is the secret `tunnel-token` (R17)."""

    enabled: bool = False
    """Whether it is installed; needs single sign-on."""
    hosts: tuple[DnsLabel, ...] = ("jupyter",)
    """Host names under the site's domain that are reachable from outside."""


class Repository(Model):
    """A Git repository that Fleet follows (R32)."""

    url: GitRepository
    """Where it is."""
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
    """Repositories whose content is kept on the cluster."""


class Power(LayerSettings):
    """Switches idle hosts off and on (R41)."""

    enabled: bool = False
    """Whether machines are switched off."""
    idle: int = Field(default=30, ge=5)
    """Minutes without work before a machine is switched off."""
    keep: int = Field(default=1, ge=0)
    """GPU workers that stay on."""


class HighThroughput(LayerSettings):
    """NVIDIA Network Operator: RDMA for pods over the sites' InfiniBand or RoCE cards (R19, R43)."""

    enabled: bool = False
    """Whether it is installed; needs hosts with such `devices`."""
    resource: ResourceName = "rdma/shared"
    """Name by which a pod asks for it."""
    per_node: int = Field(default=63, ge=1, le=1000)
    """Pods that share a card."""


class Costs(LayerSettings):
    """OpenCost: who used what (R34, R40)."""

    enabled: bool = False
    """Whether it is installed."""
