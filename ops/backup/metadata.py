"""Backups of a cluster's state: an etcd snapshot with a note that says what it is, and which secret opens it.

A snapshot is worthless without the server token, which is derived from the stack's seed; so the note carries the hashes of
both, and a restore with another seed is refused before anything is touched. Neither is ever written. The token's hash is
K3s's own, as it stands beside a snapshot in S3.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from config.errors import LyceumError
from config.key_derivation import seed_fingerprint, token_hash
from config.tokens import TokenKind, derive_token, find_generation
from ops.files import write_whole

SUFFIX = ".db"
DIGEST_BYTES = 32
"""An etcd snapshot is the database followed by its SHA-256 (etcd, `snapshot save`); pages are 512 bytes and up."""
PAGE_BYTES = 512
BOOTSTRAP_KEY = re.compile(rb"/bootstrap/([0-9a-f]{12})")
"""The key of the cluster's bootstrap data, as it stands in a snapshot."""
MAX_GENERATIONS = 100
"""Generations of the server token that are tried: after a loss nobody may know how many there were."""


class BackupError(LyceumError):
    """A backup cannot be used; the text says why."""


@dataclass(frozen=True)
class SnapshotMetadata:
    """What stands beside a snapshot, `<snapshot>.json`.

    Attributes:
        site: The campus.
        stack: Its stack.
        taken: When, UTC.
        server: Which server took it.
        version: K3s's version.
        nodes: Nodes of the cluster at that time.
        sha256: Of the file.
        seed: Fingerprint of the seed that the server token is derived from; empty where only K3s said what it is.
        token: K3s's hash of the server token; empty in notes of before it was noted.
        snapshot: K3s's name of it, by which it is known in other places.
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


def token_generation(note: SnapshotMetadata, seed: str) -> int | None:
    """The generation of the server token under which a snapshot was taken; None where this seed has none such.

    A note that knows the seed only says nothing about the generation: then it is the first.
    """
    if note.token:
        return find_generation(seed, TokenKind.SERVER, MAX_GENERATIONS, note.token)
    return 1 if note.seed == seed_fingerprint(seed) else None


def find_token_hash(content: bytes, seed: str) -> str:
    """K3s's hash of the server token that opens a snapshot, out of the snapshot itself; empty where it is none of this seed.

    K3s keeps what the token encrypts under a key with the token's hash (k3s, pkg/cluster/encrypt.go, `storageKey`). After a
    rotation the key of before may still stand in the file, so the highest generation counts: they only ever grow.
    """
    found = {match.decode() for match in BOOTSTRAP_KEY.findall(content)}
    known = (token_hash(derive_token(seed, TokenKind.SERVER, number)) for number in range(MAX_GENERATIONS, 0, -1))
    return next((one for one in known if one in found), "")


def metadata_path(file: Path) -> Path:
    """Where a snapshot's note is."""
    return file.with_name(file.name + ".json")


def write_metadata(file: Path, note: SnapshotMetadata) -> None:
    """Writes the note; it comes last, so a snapshot with a note is complete."""
    write_whole(metadata_path(file), json.dumps(asdict(note), indent=1) + "\n")


def read_metadata(file: Path) -> SnapshotMetadata:
    """Reads the note of a snapshot.

    Raises:
        BackupError: there is none, or it is none of ours.
    """
    try:
        return SnapshotMetadata(**json.loads(metadata_path(file).read_text()))
    except (OSError, ValueError, TypeError):
        raise BackupError(f"{file} has no note ({metadata_path(file).name}) that says which cluster it is of") from None


def local_backups(directory: Path) -> list[Path]:
    """Complete backups, oldest first."""
    return sorted(file for file in directory.glob(f"*{SUFFIX}") if metadata_path(file).exists())


def find_local_backup(directory: Path, wanted: str) -> Path:
    """The backup of a name, K3s's or the file's, of a path, or `latest`.

    Raises:
        BackupError: there is none; names what there is.
    """
    known = local_backups(directory)
    if wanted == "latest" and known:
        return known[-1]
    named = [file for file in known if read_metadata(file).snapshot == wanted]
    for file in (*named, Path(wanted), directory / wanted, directory / f"{wanted}{SUFFIX}"):
        if file.is_file():
            return file.resolve()
    there = ", ".join(file.name for file in known) or "none; ./lyceum backup now makes one"
    raise BackupError(f"there is no backup `{wanted}` in {directory}; there: {there}")


def verify_backup(file: Path, seed: str, site: str) -> SnapshotMetadata:
    """Proves that a backup is whole, of this site, and that this stack's token opens it.

    Raises:
        BackupError: it is not.
    """
    note = read_metadata(file)
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != note.sha256:
        raise BackupError(
            f"{file.name} is not what was taken: its checksum differs from its note's; use another backup"
        )
    if not is_etcd_snapshot(content):
        raise BackupError(f"{file.name} is no etcd snapshot, or was cut short: etcd's own checksum at its end is wrong")
    if note.site != site:
        raise BackupError(f"{file.name} is of the site {note.site}, and this stack is of {site}")
    if token_generation(note, seed) is None:
        raise BackupError(
            f"token missing: snapshot unusable. {file.name} was taken under another seed than this stack's, "
            f"{seed_fingerprint(seed)}; bring that seed back first: ./lyceum secrets set {site} seed, or restore with --escrow"
        )
    return note


def is_etcd_snapshot(content: bytes) -> bool:
    """Whether a file is an etcd snapshot with the digest that etcd put at its end."""
    database, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    return len(content) % PAGE_BYTES == DIGEST_BYTES and hashlib.sha256(database).digest() == digest


def prune_backups(directory: Path, keep: int) -> list[Path]:
    """Deletes all but the newest backups; returns what is gone."""
    gone = local_backups(directory)[:-keep]
    for file in gone:
        metadata_path(file).unlink()
        file.unlink()
    return gone
