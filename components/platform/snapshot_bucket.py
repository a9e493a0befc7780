"""What K3s needs to upload its etcd snapshots: the bucket and its keys, as a Secret of the cluster."""

from typing import ClassVar
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as k8s

from components.layer import Layer, LayerArgs
from config.services import S3, SNAPSHOT_SECRET, snapshot_folder
from config.site import STORE_CA_FILE


def bucket_entries(site: str, store: S3, ca: str) -> dict[str, str]:
    """The Secret's entries without the keys, by K3s's names (docs.k3s.io/cli/etcd-snapshot, S3 Configuration Secret).

    `ca` is the CA of the bucket's certificate, PEM; empty for a public one.
    """
    return {
        "etcd-s3-endpoint": urlsplit(store.endpoint).netloc,
        "etcd-s3-bucket": store.bucket,
        "etcd-s3-folder": snapshot_folder(site),
        "etcd-s3-region": store.region,
        "etcd-s3-bucket-lookup-type": "path",
        **({"etcd-s3-endpoint-ca": ca} if ca else {}),
    }


class Backup(Layer):
    """Where etcd's snapshots are uploaded.

    Creates: one Secret, which K3s reads at every snapshot, so that another key or bucket needs no restart.
    Secret: both keys; the cluster encrypts them as it does all Secrets.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Backup"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        store = self.site.platform.backup.s3
        if store is None:
            raise ValueError("the site has no bucket")
        keys = {f"etcd-{key}": self.secrets[key] for key in ("s3-access-key", "s3-secret-key")}
        secret = k8s.core.v1.Secret(
            SNAPSHOT_SECRET,
            metadata={"name": SNAPSHOT_SECRET, "namespace": "kube-system"},
            type="etcd.k3s.cattle.io/s3-config-secret",
            string_data={**bucket_entries(self.site.name, store, self.files.get(STORE_CA_FILE, "")), **keys},
            opts=self.child(),
        )
        self.ready = (secret,)
        self.register_outputs({})
