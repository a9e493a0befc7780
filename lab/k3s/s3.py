"""Snapshots in an S3 bucket, as K3s keeps them: where its settings come from, its names, its metadata, its words.

As in K3s (docs.k3s.io/cli/etcd-snapshot, pkg/etcd/s3): the settings are those of the command line and the configuration
file; only where none is given but `etcd-s3` (and `etcd-s3-retention`), they are read from the Secret that
`etcd-s3-config-secret` names, at each use. The Secret says nothing about retention, and with it nothing is pruned. A given CA
is trusted alone. Everything that lies under the folder's prefix is taken for a snapshot.
"""

import base64
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lab.k3s.config import Options
from lab.kubernetes import KubeClient, KubernetesError

_T = TypeVar("_T")
_METADATA = ".metadata"
_SETTINGS = (
    "endpoint", "endpoint-ca", "bucket", "folder", "region", "access-key", "secret-key", "session-token", "proxy",
    "timeout", "insecure", "skip-ssl-verify", "bucket-lookup-type",
)  # fmt: skip
"""Flags after `etcd-s3-` whose presence makes K3s ignore the Secret."""


class S3Error(Exception):
    """The bucket cannot be used; the text is K3s's."""


class NoSecretError(S3Error):
    """The settings' Secret cannot be read (yet); K3s then goes on without S3."""


@dataclass(frozen=True)
class S3Settings:
    """Where snapshots go."""

    values: Mapping[str, str]
    """Flag after `etcd-s3-` to its value; of a CA: PEM, base64 of it, or a file."""
    retention: int

    def get(self, name: str, default: str = "") -> str:
        """Return a value."""
        return self.values.get(name) or default


@dataclass(frozen=True)
class StoredSnapshot:
    """A snapshot in the bucket."""

    name: str
    location: str
    size: int
    """Bytes."""
    changed: float
    """Unix seconds."""
    node: str
    token_hash: str


def settings_from_flags(options: Options) -> S3Settings | None:
    """Return the settings of flags and files; None when there are none but the Secret's name."""
    values = {name: options.text(f"etcd-s3-{name}") for name in _SETTINGS}
    given = {name: value for name, value in values.items() if value and value != "false"}
    return S3Settings(given, int(options.text("etcd-s3-retention") or 5)) if given else None


async def _settings_from_secret(name: str, kube: KubeClient | None) -> S3Settings:
    if kube is None:
        raise NoSecretError("failed to get etcd S3 config secret: runtime core not ready")
    try:
        secret = await kube.call("GET", f"/api/v1/namespaces/kube-system/secrets/{name}")
    except KubernetesError as error:
        raise NoSecretError(f"failed to get etcd S3 config secret: {error}") from error
    data = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
    return S3Settings({name: data[f"etcd-s3-{name}"] for name in _SETTINGS if data.get(f"etcd-s3-{name}")}, 0)


async def open_bucket(options: Options, kube: KubeClient | None) -> "Bucket":
    """Return the bucket, after looking whether it exists; raises `S3Error`."""
    settings = settings_from_flags(options)
    if settings is None:
        name = options.text("etcd-s3-config-secret")
        if not name:
            raise S3Error("s3 configuration was not set")
        settings = await _settings_from_secret(name, kube)
    return Bucket(settings)


class Bucket:
    """A client for one bucket and folder."""

    def __init__(self, settings: S3Settings) -> None:
        import boto3  # noqa: PLC0415  # half a second, and only who uses S3 pays it
        from botocore.config import Config  # noqa: PLC0415

        self._bucket, self._folder = settings.get("bucket"), settings.get("folder")
        self.retention = settings.retention
        if not self._bucket:
            raise S3Error("s3 bucket name was not set")
        scheme = "http" if settings.get("insecure") == "true" else "https"
        session = boto3.session.Session(
            aws_access_key_id=settings.get("access-key"), aws_secret_access_key=settings.get("secret-key")
        )
        style = {"dns": "virtual", "path": "path"}.get(settings.get("bucket-lookup-type"), "path")
        self._client: Any = session.client(
            "s3",
            endpoint_url=f"{scheme}://{settings.get('endpoint', 's3.amazonaws.com')}",
            region_name=settings.get("region", "us-east-1"),
            verify=_trusted_ca(settings),
            config=Config(s3={"addressing_style": style}, connect_timeout=10, retries={"max_attempts": 1}),
        )
        self._call(f"failed to test for existence of bucket {self._bucket}", self._exists)

    def _exists(self) -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                raise S3Error(f"bucket {self._bucket} does not exist") from None
            raise

    def _call(self, what: str, work: Callable[[], _T]) -> _T:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            return work()
        except (BotoCoreError, ClientError, OSError) as error:
            raise S3Error(f"{what}: {error}") from error

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name

    def location(self, name: str) -> str:
        """Return where a snapshot is, as K3s writes it."""
        return f"s3://{self._bucket}/{self._key(name)}"

    def upload(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Upload a snapshot with what K3s says about it."""
        arguments = {"Metadata": {f"k3s-{name}": value for name, value in metadata.items()}}
        self._call("upload", lambda: self._client.upload_file(str(file), self._bucket, self._key(file.name), arguments))

    def download(self, name: str, folder: Path) -> Path:
        """Download a snapshot."""
        target = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        self._call("download", lambda: self._client.download_file(self._bucket, self._key(name), str(target)))
        return target

    def list_snapshots(self) -> list[StoredSnapshot]:
        """Return the snapshots, oldest first."""

        def ask() -> list[StoredSnapshot]:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._folder)
            found = []
            for item in (item for page in pages for item in page.get("Contents", [])):
                parent, _, name = item["Key"].rpartition("/")
                if not item["Size"] or parent.endswith(_METADATA):
                    continue
                meta = self._client.head_object(Bucket=self._bucket, Key=item["Key"])["Metadata"]
                changed = item["LastModified"].timestamp()
                node, token = meta.get("k3s-node-name", ""), meta.get("k3s-token-hash", "")
                found.append(
                    StoredSnapshot(name, f"s3://{self._bucket}/{item['Key']}", item["Size"], changed, node, token)
                )
            return sorted(found, key=lambda one: (one.changed, one.name))

        return self._call("list", ask)

    def delete(self, name: str) -> bool:
        """Delete a snapshot; returns whether it was there."""
        known = name in {stored.name for stored in self.list_snapshots()}
        self._call("delete", lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(name)))
        return known

    def prune(self, base: str) -> list[str]:
        """Delete all but the newest with this base name, of whichever node; returns what was deleted."""
        own = [stored.name for stored in self.list_snapshots() if stored.name.startswith(base)]
        surplus = own[: -self.retention] if self.retention > 0 else []
        for name in surplus:
            self.delete(name)
        return surplus


def _trusted_ca(settings: S3Settings) -> str | bool:
    """The CA bundle as botocore wants it, a file: the given one alone, or the system's."""
    if settings.get("skip-ssl-verify") == "true":
        return False
    given = settings.get("endpoint-ca")
    if not given:
        return "/etc/ssl/certs/ca-certificates.crt"
    if "BEGIN CERTIFICATE" not in given:
        try:
            given = base64.b64decode(given, validate=True).decode()
        except ValueError:
            return given
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(given)
    return file.name
