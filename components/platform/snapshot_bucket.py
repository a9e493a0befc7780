"""What K3s must know to bring its snapshots away: the bucket and its keys, as a Secret of the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as k8s

from components.base import Component
from config.services import S3, SNAPSHOT_SECRET, snapshot_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupArgs:
    """What it is made from.

    Attributes:
        site: Name of the campus.
        store: The bucket.
        access_key: Its access key, secret.
        secret_key: Its secret key, secret.
    """

    site: str
    store: S3
    access_key: pulumi.Input[str]
    secret_key: pulumi.Input[str]


def settings(site: str, store: S3) -> Mapping[str, str]:
    """The Secret's entries but for the keys, by K3s's names (docs.k3s.io/cli/etcd-snapshot, S3 Configuration Secret)."""
    trust = store.ca_file and Path(store.ca_file)
    return {
        "etcd-s3-endpoint": urlsplit(store.endpoint).netloc,
        "etcd-s3-bucket": store.bucket,
        "etcd-s3-folder": snapshot_folder(site),
        "etcd-s3-region": store.region,
        "etcd-s3-bucket-lookup-type": "path",
        **({"etcd-s3-endpoint-ca": trust.read_text()} if trust and trust.exists() else {}),
    }


class Backup(Component):
    """Where etcd's snapshots go.

    Creates: one Secret, which K3s reads at every snapshot, so that another key or bucket needs no restart.
    Secret: both keys; in the cluster they lie encrypted, as all Secrets do.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Backup"  # noqa: S105 - a type token

    def __init__(self, name: str, args: BackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        keys = {"etcd-s3-access-key": args.access_key, "etcd-s3-secret-key": args.secret_key}
        k8s.core.v1.Secret(
            SNAPSHOT_SECRET,
            metadata={"name": SNAPSHOT_SECRET, "namespace": "kube-system"},
            type="etcd.k3s.cattle.io/s3-config-secret",
            string_data={**settings(args.site, args.store), **keys},
            opts=self.child(),
        )
        self.register_outputs({})
