"""The S3 object store for backups, through boto3. Errors name what is wrong: endpoint, certificate, key or bucket.

Import it only where it is needed: boto3 takes a third of a second. Each site has a folder in the bucket with `snapshots/`, in which
K3s takes every object for a snapshot, the engine's state and the escrow. K3s lists by prefix: `arena/snapshots` does not match
objects of `arena-2`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from config.paths import PROJECT
from config.services import S3, snapshot_folder
from ops.backup.inventory import StoredObject
from ops.backup.metadata import BackupError
from ops.engine.stack import PUBLIC_CAS, Stack
from ops.files import open_atomically

S3_SETTING = "platform.backup.s3"
CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS = 10, 60
PROBE_OBJECT = "probe"
"""Object that the doctor writes and deletes."""
_METADATA_PREFIX = "k3s-"
"""Prefix of K3s's metadata of a snapshot: cluster-id, node-name, token-hash."""


class StoreError(BackupError):
    """The object store cannot be used; the text names what is wrong and the remedy."""


class ObjectStore:
    """The folder of one site in a bucket."""

    def __init__(self, where: S3, site: str, access_key: str, secret_key: str) -> None:
        self._where = where
        self._site = site
        if where.ca_file and not (PROJECT / where.ca_file).exists():
            raise StoreError(f"there is no file {where.ca_file}; correct {S3_SETTING}.ca-file")
        session = boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret_key)
        system = next((str(file) for file in PUBLIC_CAS if file.exists()), True)
        with self._translate_errors():
            self._client: Any = session.client(
                "s3",
                endpoint_url=where.endpoint,
                region_name=where.region,
                # As K3s does: a given CA replaces the public ones.
                verify=str(PROJECT / where.ca_file) if where.ca_file else system,
                config=Config(
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    retries={"mode": "standard", "max_attempts": 2},
                    s3={"addressing_style": "path"},
                    # Older releases of Ceph and MinIO reject S3's newer checksums.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )

    @classmethod
    def of(cls, stack: Stack) -> Self | None:
        """The store of a stack's site; None where the site has none.

        Raises:
            LyceumError: a key is missing.
        """
        where = stack.site.platform.backup.s3
        if where is None:
            return None
        return cls(where, stack.site.name, stack.secret("s3-access-key"), stack.secret("s3-secret-key"))

    def location(self, name: str = "") -> str:
        """URL of an object, for messages."""
        return f"s3://{self._where.bucket}/{self._site}/{name}"

    def list_snapshots(self) -> list[StoredObject]:
        """The etcd snapshots, oldest first."""
        prefix = f"{snapshot_folder(self._site)}/"
        found = []
        with self._translate_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._where.bucket, Prefix=prefix)
            for item in (item for page in pages for item in page.get("Contents", [])):
                name = item["Key"].removeprefix(prefix)
                if "/" not in name:  # K3s stores metadata of snapshots in a folder below
                    found.append(StoredObject(name, item["Size"], item["LastModified"].timestamp()))
        return sorted(found, key=lambda stored: (stored.changed, stored.name))

    def snapshot_metadata(self, name: str) -> dict[str, str]:
        """K3s's metadata of a snapshot: `cluster-id`, `node-name`, `token-hash`."""
        with self._translate_errors():
            answer = self._client.head_object(Bucket=self._where.bucket, Key=f"{snapshot_folder(self._site)}/{name}")
        meta = {key.lower(): str(value) for key, value in answer["Metadata"].items()}
        return {
            key.removeprefix(_METADATA_PREFIX): value for key, value in meta.items() if key.startswith(_METADATA_PREFIX)
        }

    def download_snapshot(self, name: str, target: Path) -> None:
        """Downloads a snapshot into a file with mode 0600."""
        with self._translate_errors(), open_atomically(target) as file:
            answer = self._client.get_object(Bucket=self._where.bucket, Key=f"{snapshot_folder(self._site)}/{name}")
            for chunk in answer["Body"].iter_chunks(1 << 20):
                file.write(chunk)

    def delete_snapshot(self, name: str) -> None:
        """Deletes a snapshot; does nothing if it does not exist."""
        with self._translate_errors():
            self._client.delete_object(Bucket=self._where.bucket, Key=f"{snapshot_folder(self._site)}/{name}")

    def read_object(self, name: str) -> bytes | None:
        """Content of an object of the site, or None if it does not exist."""
        try:
            with self._translate_errors():
                content: bytes = self._client.get_object(Bucket=self._where.bucket, Key=f"{self._site}/{name}")[
                    "Body"
                ].read()
        except StoreError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise
        return content

    def write_object(self, name: str, content: bytes) -> None:
        """Writes an object of the site; S3 makes it visible only when it is complete."""
        with self._translate_errors():
            self._client.put_object(Bucket=self._where.bucket, Key=f"{self._site}/{name}", Body=content)

    def probe(self) -> None:
        """Checks that the bucket exists and that the key may list, write, read and delete; leaves no object behind.

        Raises:
            StoreError: one of these is not so.
        """
        self.list_snapshots()
        self.write_object(PROBE_OBJECT, b"lyceum")
        self.read_object(PROBE_OBJECT)
        with self._translate_errors():
            self._client.delete_object(Bucket=self._where.bucket, Key=f"{self._site}/{PROBE_OBJECT}")

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, OSError) as error:
            raise explain_error(error, self._where, self._site) from error


def error_code(error: StoreError) -> str:
    """S3's error code; empty if the store did not answer."""
    cause = error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""


def explain_error(error: Exception, where: S3, site: str) -> StoreError:
    """Which of endpoint, certificate, key and bucket is wrong, and the remedy. The text never holds a key."""
    if isinstance(error, SSLError):
        known = f"is not signed by {where.ca_file}" if where.ca_file else "is not signed by a public CA"
        return StoreError(
            f"the certificate of {where.endpoint} {known}: {_innermost_reason(error)}",
            remedy=f"set its CA in {S3_SETTING}.ca-file",
        )
    if not isinstance(error, ClientError):
        return StoreError(
            f"{where.endpoint} does not answer: {_innermost_reason(error)}",
            remedy=f"check {S3_SETTING}.endpoint, its port and the route to it",
        )
    name = str(error.response["Error"]["Code"])
    renew = f"set it again: ./lyceum secrets set {site}"
    match name:
        case "InvalidAccessKeyId":
            return StoreError(f"{where.endpoint} does not know the access key", remedy=f"{renew} s3-access-key")
        case "SignatureDoesNotMatch":
            rule = f"{where.endpoint} rejects the secret key: it does not match the access key"
            return StoreError(rule, remedy=f"{renew} s3-secret-key")
        case "AccessDenied" | "403":
            rule = f"the key has no access to the bucket {where.bucket} at {where.endpoint}"
            return StoreError(rule, remedy="grant it list, read, write and delete")
        case "NoSuchBucket":
            rule = f"there is no bucket {where.bucket} at {where.endpoint}"
            return StoreError(rule, remedy=f"create it, or correct {S3_SETTING}.bucket")
        case "RequestTimeTooSkewed":
            rule = f"{where.endpoint} rejects the time of the request: its clock or this machine's is wrong"
            return StoreError(rule, remedy="compare both with a time server")
        case "PermanentRedirect" | "AuthorizationHeaderMalformed":
            rule = f"{where.endpoint} has the bucket {where.bucket} in another region"
            return StoreError(rule, remedy=f"correct {S3_SETTING}.region")
        case _:
            answer = f"{name} {error.response['Error'].get('Message', '')}".rstrip()
            return StoreError(f"{where.endpoint} answers: {answer}", remedy="ask the administrators of the store")


def _innermost_reason(error: Exception) -> str:
    """The innermost cause, which names the error; the outer ones repeat the URL."""
    inner: BaseException = error
    while (next_one := inner.__cause__ or inner.__context__) is not None:
        inner = next_one
    return str(inner).strip() or type(inner).__name__
