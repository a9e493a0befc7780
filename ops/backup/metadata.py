"""A backup: an etcd snapshot and a metadata file with its origin, its checksum and hashes of the secrets that decrypt it.

K3s cannot use a snapshot without the server token, which is derived from the stack's seed. The metadata holds hashes of both, so
that a restore with another seed is refused before it changes anything. Neither secret is written. The token's hash is the one that
K3s computes itself, as in the object metadata of its snapshots in S3.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from config.errors import LyceumError
from config.key_derivation import seed_fingerprint, token_hash
from config.tokens import TokenKind, derive_token, find_generation
from ops.files import write_atomically

SUFFIX = ".db"
DIGEST_BYTES = 32
"""An etcd snapshot is the database followed by its SHA-256 (etcd, `snapshot save`); pages are 512 bytes and up."""
PAGE_BYTES = 512
BOOTSTRAP_KEY = re.compile(rb"/bootstrap/([0-9a-f]{12})")
"""Key of the cluster's bootstrap data in etcd; it ends with the hash of the server token."""
MAX_GENERATIONS = 100
"""Generations of the server token that are tried: after a loss their number may be unknown."""


class BackupError(LyceumError):
    """A backup or the object store cannot be used; the text says why."""


@dataclass(frozen=True)
class SnapshotMetadata:
    """Metadata of a snapshot, stored beside it as `<snapshot>.json`.

    Attributes:
        site: Name of the site.
        stack: Name of the stack.
        taken: Time of the snapshot, UTC, as in `2026-01-02T06:00:00Z`.
        server: Server that took it.
        version: Version of K3s; empty where it is unknown.
        nodes: Number of nodes of the cluster at that time; 0 where it is unknown.
        sha256: Checksum of the file.
        seed: Fingerprint of the seed from which the server token is derived; empty where only K3s's metadata is known.
        token: K3s's hash of the server token; empty in metadata written by releases that did not store it.
        snapshot: Name that K3s gave it, which is the same on servers and in S3.
    """

    site: str
    stack: str
    taken: str
    server: str
    version: str
    nodes: int
    sha256: str
    seed: str
    token: str = ""
    snapshot: str = ""


def token_generation(metadata: SnapshotMetadata, seed: str) -> int | None:
    """The generation of the server token that was in use at the snapshot; None if it is not derived from this seed.

    Metadata without a token hash comes from before the first rotation: generation 1.
    """
    if metadata.token:
        return find_generation(seed, TokenKind.SERVER, MAX_GENERATIONS, metadata.token)
    return 1 if metadata.seed == seed_fingerprint(seed) else None


def find_token_hash(content: bytes, seed: str) -> str:
    """K3s's hash of the server token, read from the snapshot's content; empty if no token of this seed is in it.

    K3s stores the bootstrap data under a key with the token's hash (k3s, pkg/cluster/encrypt.go, `storageKey`). After a rotation
    the previous key can still be in the file, so the highest generation counts: generations only grow.
    """
    found = {match.decode() for match in BOOTSTRAP_KEY.findall(content)}
    candidates = (token_hash(derive_token(seed, TokenKind.SERVER, number)) for number in range(MAX_GENERATIONS, 0, -1))
    return next((candidate for candidate in candidates if candidate in found), "")


def metadata_path(file: Path) -> Path:
    """Path of a snapshot's metadata file."""
    return file.with_name(file.name + ".json")


def write_metadata(file: Path, metadata: SnapshotMetadata) -> None:
    """Writes the metadata file. It is written last, so a snapshot that has one is complete."""
    write_atomically(metadata_path(file), json.dumps(asdict(metadata), indent=1) + "\n")


def read_metadata(file: Path) -> SnapshotMetadata:
    """Reads the metadata file of a snapshot.

    Raises:
        BackupError: the file is missing, or is not a metadata file of Lyceum.
    """
    try:
        return SnapshotMetadata(**json.loads(metadata_path(file).read_text()))
    except (OSError, ValueError, TypeError):
        raise BackupError(
            f"{file} has no valid metadata file {metadata_path(file).name}: its cluster is unknown"
        ) from None


def local_backups(directory: Path) -> list[Path]:
    """Complete backups in a directory, oldest first."""
    return sorted(file for file in directory.glob(f"*{SUFFIX}") if metadata_path(file).exists())


def find_local_backup(directory: Path, wanted: str) -> Path:
    """A backup by file name, by K3s's name, by path, or `latest`.

    Raises:
        BackupError: there is none; the text lists the backups of the directory.
    """
    known = local_backups(directory)
    if wanted == "latest" and known:
        return known[-1]
    named = [file for file in known if read_metadata(file).snapshot == wanted]
    for file in (*named, Path(wanted), directory / wanted, directory / f"{wanted}{SUFFIX}"):
        if file.is_file():
            return file.resolve()
    available = ", ".join(file.name for file in known) or "none; ./lyceum backup now takes one"
    raise BackupError(f"there is no backup `{wanted}` in {directory}; available: {available}")


def verify_backup(file: Path, seed: str, site: str) -> SnapshotMetadata:
    """Verifies that a backup is intact, belongs to this site, and can be decrypted with a token of this stack.

    Raises:
        BackupError: one of these is not so.
    """
    metadata = read_metadata(file)
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != metadata.sha256:
        raise BackupError(
            f"{file.name} was changed after it was taken: its checksum differs from its metadata; use another backup"
        )
    if not is_etcd_snapshot(content):
        raise BackupError(f"{file.name} is not an etcd snapshot, or is truncated: etcd's checksum at its end is wrong")
    if metadata.site != site:
        raise BackupError(f"{file.name} belongs to the site {metadata.site}, and this stack to {site}")
    if token_generation(metadata, seed) is None:
        raise BackupError(
            f"token missing: snapshot unusable. {file.name} was taken with another seed than this stack's, "
            f"{seed_fingerprint(seed)}; set that seed first: ./lyceum secrets set {site} seed, or restore with --escrow"
        )
    return metadata


def is_etcd_snapshot(content: bytes) -> bool:
    """Whether the content is an etcd snapshot with a valid digest at its end."""
    database, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    return len(content) % PAGE_BYTES == DIGEST_BYTES and hashlib.sha256(database).digest() == digest


def prune_backups(directory: Path, keep: int) -> list[Path]:
    """Deletes all but the newest `keep` backups; returns the deleted files."""
    outdated = local_backups(directory)[:-keep]
    for file in outdated:
        metadata_path(file).unlink()
        file.unlink()
    return outdated
