"""The object store that backups go to, behind boto3; what goes wrong is told as endpoint, certificate, key or bucket.

Imported where it is needed only: boto3 takes a third of a second. Below the site's name lie `snapshots/` (K3s's folder: K3s takes whatever is in it for a snapshot), the engine's state and the
escrow. K3s lists by prefix, and `arena/snapshots` is none of `arena-2`'s.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from config.services import S3, snapshot_folder
from ops.backup.metadata import BackupError
from ops.engine.stack import PROJECT, PUBLIC_CAS, Stack
from ops.files import becoming

SETTING = "platform.backup.s3"
CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
PROBE = "probe"
"""What the doctor writes and deletes."""
_META = "k3s-"
"""Of what K3s says about a snapshot: cluster-id, node-name, token-hash."""


class StoreError(BackupError):
    """The store cannot be used; the text names what is wrong and the remedy."""


@dataclass(frozen=True)
class Stored:
    """An object.

    Attributes:
        name: Its name below the folder that was listed.
        size: Bytes.
        changed: When it was written, Unix seconds.
    """

    name: str
    size: int
    changed: float


class Store:
    """One site's part of a bucket."""

    def __init__(self, where: S3, site: str, access_key: str, secret_key: str) -> None:
        self._where = where
        self._site = site
        if where.ca_file and not (PROJECT / where.ca_file).exists():
            raise StoreError(f"there is no file {where.ca_file}; correct {SETTING}.ca-file")
        session = boto3.session.Session(aws_access_key_id=access_key, aws_secret_access_key=secret_key)
        system = next((str(file) for file in PUBLIC_CAS if file.exists()), True)
        with self._explained():
            self._client: Any = session.client(
                "s3",
                endpoint_url=where.endpoint,
                region_name=where.region,
                # K3s trusts the given CA alone, too.
                verify=str(PROJECT / where.ca_file) if where.ca_file else system,
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=ANSWER_SECONDS,
                    retries={"mode": "standard", "max_attempts": 2},
                    s3={"addressing_style": "path"},
                    # Stores older than S3's newer checksums (Ceph, MinIO) refuse them.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )

    @classmethod
    def of(cls, stack: Stack) -> Self | None:
        """The store of a stack's site; None where the site has none. Ends the command where a key is missing."""
        where = stack.site.platform.backup.s3
        if where is None:
            return None
        return cls(where, stack.site.name, stack.secret("s3-access-key"), stack.secret("s3-secret-key"))

    def location(self, name: str = "") -> str:
        """Where an object is, for people."""
        return f"s3://{self._where.bucket}/{self._site}/{name}"

    def snapshots(self) -> list[Stored]:
        """Snapshots of etcd, oldest first."""
        prefix = f"{snapshot_folder(self._site)}/"
        found = []
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._where.bucket, Prefix=prefix)
            for item in (item for page in pages for item in page.get("Contents", [])):
                name = item["Key"].removeprefix(prefix)
                if "/" not in name:  # K3s keeps what it knows about snapshots in a folder below
                    found.append(Stored(name, item["Size"], item["LastModified"].timestamp()))
        return sorted(found, key=lambda one: (one.changed, one.name))

    def said(self, name: str) -> dict[str, str]:
        """What K3s says about a snapshot: `cluster-id`, `node-name`, `token-hash`."""
        with self._explained():
            answer = self._client.head_object(Bucket=self._where.bucket, Key=f"{snapshot_folder(self._site)}/{name}")
        meta = {key.lower(): str(value) for key, value in answer["Metadata"].items()}
        return {key.removeprefix(_META): value for key, value in meta.items() if key.startswith(_META)}

    def fetch(self, name: str, target: Path) -> None:
        """Brings a snapshot into a file that only we can read."""
        with self._explained(), becoming(target) as file:
            answer = self._client.get_object(Bucket=self._where.bucket, Key=f"{snapshot_folder(self._site)}/{name}")
            for chunk in answer["Body"].iter_chunks(1 << 20):
                file.write(chunk)

    def remove_snapshot(self, name: str) -> None:
        """Deletes a snapshot; one that is gone is fine."""
        with self._explained():
            self._client.delete_object(Bucket=self._where.bucket, Key=f"{snapshot_folder(self._site)}/{name}")

    def read(self, name: str) -> bytes | None:
        """A small object of ours, or None where there is none."""
        try:
            with self._explained():
                content: bytes = self._client.get_object(Bucket=self._where.bucket, Key=f"{self._site}/{name}")[
                    "Body"
                ].read()
        except StoreError as error:
            if code(error) == "NoSuchKey":
                return None
            raise
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a small object of ours, whole or not at all."""
        with self._explained():
            self._client.put_object(Bucket=self._where.bucket, Key=f"{self._site}/{name}", Body=content)

    def probe(self) -> None:
        """Proves that it is there, and that the key may list, write, read and delete; leaves nothing.

        Raises:
            StoreError: it is not, or may not.
        """
        self.snapshots()
        self.write(PROBE, b"lyceum")
        self.read(PROBE)
        with self._explained():
            self._client.delete_object(Bucket=self._where.bucket, Key=f"{self._site}/{PROBE}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError, OSError) as error:
            raise StoreError(explain(error, self._where, self._site)) from error


def code(error: StoreError) -> str:
    """S3's code of a refusal; empty where the store never answered."""
    cause = error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""


def explain(error: Exception, where: S3, site: str) -> str:
    """Which of endpoint, certificate, key and bucket is wrong, and what to do; never a key itself."""
    if isinstance(error, SSLError):
        known = f"is not signed by {where.ca_file}" if where.ca_file else "is of no public CA"
        return f"the certificate of {where.endpoint} {known}: {_reason(error)}; name its CA in {SETTING}.ca-file"
    if not isinstance(error, ClientError):
        return (
            f"{where.endpoint} does not answer: {_reason(error)}; check {SETTING}.endpoint, its port and the way there"
        )
    name = str(error.response["Error"]["Code"])
    renew = f"give it again: ./lyceum secrets set {site}"
    match name:
        case "InvalidAccessKeyId":
            return f"{where.endpoint} does not know the access key; {renew} s3-access-key"
        case "SignatureDoesNotMatch":
            return f"{where.endpoint} refuses the secret key, it is not the access key's; {renew} s3-secret-key"
        case "AccessDenied" | "403":
            needed = "give it the rights to list, write, read and delete there"
            return f"the key may not use the bucket {where.bucket} at {where.endpoint}; {needed}"
        case "NoSuchBucket":
            return f"there is no bucket {where.bucket} at {where.endpoint}; make it, or correct {SETTING}.bucket"
        case "RequestTimeTooSkewed":
            return f"{where.endpoint} refuses our clock, or its own is wrong; compare both with a time server"
        case "PermanentRedirect" | "AuthorizationHeaderMalformed":
            return f"{where.endpoint} has the bucket {where.bucket} in another region; correct {SETTING}.region"
        case _:
            said = f"{name} {error.response['Error'].get('Message', '')}".rstrip()
            return f"{where.endpoint} refuses: {said}; ask whoever runs the store"


def _reason(error: Exception) -> str:
    """The innermost cause, which says what happened; the outer ones repeat the URL."""
    inner: BaseException = error
    while (next_one := inner.__cause__ or inner.__context__) is not None:
        inner = next_one
    return str(inner).strip() or type(inner).__name__
