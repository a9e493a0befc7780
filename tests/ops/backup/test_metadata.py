"""A backup is verified before anybody relies on it (fault matrix Q6)."""

import hashlib
import os
from pathlib import Path

import pytest

from config.key_derivation import seed_fingerprint, token_hash
from config.tokens import TokenKind, derive_token
from ops.backup.metadata import (
    BackupError,
    SnapshotMetadata,
    find_local_backup,
    find_token_hash,
    local_backups,
    metadata_path,
    prune_backups,
    verify_backup,
    write_metadata,
)
from ops.backup.restore import servers_to_replace

SEED, OTHER = "5eed" * 16, "0ddd" * 16


def snapshot(directory: Path, name: str = "a.db", *, seed: str = SEED, site: str = "campus") -> Path:
    database = os.urandom(512 * 4)
    file = directory / name
    file.write_bytes(database + hashlib.sha256(database).digest())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    write_metadata(
        file,
        SnapshotMetadata(
            site, "dev", "2026-01-01T00:00:00Z", "server-1", "v1.36.4+k3s1", 5, digest, seed_fingerprint(seed)
        ),
    )
    return file


def refusal(file: Path, seed: str = SEED, site: str = "campus") -> str:
    with pytest.raises(BackupError) as error:
        verify_backup(file, seed, site)
    return str(error.value)


def test_a_backup_of_this_site_and_seed_is_valid(tmp_path: Path) -> None:
    assert verify_backup(snapshot(tmp_path), SEED, "campus").server == "server-1"


def test_a_backup_of_another_seed_is_refused(tmp_path: Path) -> None:
    """K3s detects it only after it has deleted the old data (k3s-io/docs#454)."""
    assert refusal(snapshot(tmp_path), OTHER).startswith("token missing: snapshot unusable")


def keys(*generations: int) -> bytes:
    """The keys of bootstrap data in the content of a snapshot."""
    return b"".join(
        f"\0/bootstrap/{token_hash(derive_token(SEED, TokenKind.SERVER, one))}".encode() for one in generations
    )


@pytest.mark.parametrize("generation", [1, 2, 7])
def test_the_token_hash_is_found_in_the_snapshot(generation: int) -> None:
    """Snapshots on a schedule and copies of the maintenance machine have no metadata with the hash."""
    assert find_token_hash(keys(generation), SEED) == token_hash(derive_token(SEED, TokenKind.SERVER, generation))
    assert find_token_hash(keys(generation), OTHER) == ""


def test_the_highest_generation_in_a_snapshot_counts_after_a_rotation() -> None:
    """Deleted keys remain until etcd compacts, and in its pages until they are reused."""
    assert (
        find_token_hash(keys(2, 1), SEED)
        == find_token_hash(keys(1, 2), SEED)
        == token_hash(derive_token(SEED, TokenKind.SERVER, 2))
    )


def test_a_fingerprint_does_not_reveal_the_seed() -> None:
    assert len(seed_fingerprint(SEED)) == 16
    assert seed_fingerprint(SEED) not in SEED
    assert seed_fingerprint(SEED) != seed_fingerprint(OTHER)


def test_a_backup_of_another_site_is_refused(tmp_path: Path) -> None:
    assert "belongs to the site campus, and this stack to other" in refusal(snapshot(tmp_path), site="other")


def test_a_backup_that_was_changed_is_refused(tmp_path: Path) -> None:
    file = snapshot(tmp_path)
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    file.write_bytes(content)

    assert "its checksum differs" in refusal(file)


def test_a_file_truncated_before_its_metadata_was_written_is_refused(tmp_path: Path) -> None:
    file = snapshot(tmp_path)
    file.write_bytes(file.read_bytes()[:-600])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    write_metadata(file, SnapshotMetadata("campus", "dev", "t", "s", "v", 1, digest, seed_fingerprint(SEED)))

    assert "not an etcd snapshot, or is truncated" in refusal(file)


def test_a_snapshot_without_metadata_is_not_a_backup(tmp_path: Path) -> None:
    file = snapshot(tmp_path)
    metadata_path(file).unlink()

    assert "has no valid metadata file" in refusal(file)
    assert local_backups(tmp_path) == []


def test_latest_is_the_newest_backup(tmp_path: Path) -> None:
    snapshot(tmp_path, "campus-20260101T000000Z.db")
    newest = snapshot(tmp_path, "campus-20260102T000000Z.db")

    assert find_local_backup(tmp_path, "latest") == newest
    assert find_local_backup(tmp_path, "campus-20260102T000000Z") == newest


def test_an_unknown_backup_is_refused_with_the_available_names(tmp_path: Path) -> None:
    snapshot(tmp_path)
    with pytest.raises(BackupError, match=r"available: a\.db"):
        find_local_backup(tmp_path, "b")


def test_prune_keeps_the_newest_five(tmp_path: Path) -> None:
    """R31."""
    for number in range(7):
        snapshot(tmp_path, f"{number}.db")
    prune_backups(tmp_path, 5)

    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["2.db", "3.db", "4.db", "5.db", "6.db"]
    assert len(list(tmp_path.glob("*.json"))) == 5, "metadata is deleted with its snapshot"


SERVERS = ["server-1", "server-2"]
BEGUN = {"operation": "restore", "host_keys": {"server-1": "old-1", "server-2": "old-2"}}


def test_a_restore_replaces_all_servers() -> None:
    assert servers_to_replace([], SERVERS, {"server-1": "old-1"}) == SERVERS


def test_a_restore_that_continues_keeps_servers_that_are_new() -> None:
    """Replacing a restored server a second time would lose the restored state."""
    assert servers_to_replace([BEGUN], SERVERS, {"server-1": "new", "server-2": "old-2"}) == ["server-2"]


def test_a_finished_restore_does_not_affect_the_next() -> None:
    assert servers_to_replace([BEGUN, {"operation": "restored"}], SERVERS, {"server-1": "new"}) == SERVERS
