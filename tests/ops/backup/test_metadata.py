"""A backup proves that it can be used before anybody relies on it (fault matrix Q6)."""

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


def test_a_backup_of_this_site_and_seed_is_good(tmp_path: Path) -> None:
    assert verify_backup(snapshot(tmp_path), SEED, "campus").server == "server-1"


def test_another_seed_is_told_up_front(tmp_path: Path) -> None:
    """K3s finds out only after the old data is gone (k3s-io/docs#454)."""
    assert refusal(snapshot(tmp_path), OTHER).startswith("token missing: snapshot unusable")


def keys(*generations: int) -> bytes:
    """The keys of bootstrap data, as they stand in a snapshot."""
    return b"".join(
        f"\0/bootstrap/{token_hash(derive_token(SEED, TokenKind.SERVER, one))}".encode() for one in generations
    )


@pytest.mark.parametrize("generation", [1, 2, 7])
def test_a_snapshot_itself_tells_which_token_opens_it(generation: int) -> None:
    """A copy that K3s made on its own, or the operators' machine, has no note that says so."""
    assert find_token_hash(keys(generation), SEED) == token_hash(derive_token(SEED, TokenKind.SERVER, generation))
    assert find_token_hash(keys(generation), OTHER) == ""


def test_what_a_rotation_has_left_in_a_snapshot_does_not_count() -> None:
    """What was deleted stays until etcd compacts, and in its pages until they are used again."""
    assert (
        find_token_hash(keys(2, 1), SEED)
        == find_token_hash(keys(1, 2), SEED)
        == token_hash(derive_token(SEED, TokenKind.SERVER, 2))
    )


def test_a_fingerprint_does_not_give_the_seed_away() -> None:
    assert len(seed_fingerprint(SEED)) == 16
    assert seed_fingerprint(SEED) not in SEED
    assert seed_fingerprint(SEED) != seed_fingerprint(OTHER)


def test_another_sites_backup_is_refused(tmp_path: Path) -> None:
    assert "of the site campus, and this stack is of other" in refusal(snapshot(tmp_path), site="other")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    file = snapshot(tmp_path)
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    file.write_bytes(content)

    assert "its checksum differs" in refusal(file)


def test_a_file_that_was_cut_before_its_note_was_written_is_refused(tmp_path: Path) -> None:
    file = snapshot(tmp_path)
    file.write_bytes(file.read_bytes()[:-600])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    write_metadata(file, SnapshotMetadata("campus", "dev", "t", "s", "v", 1, digest, seed_fingerprint(SEED)))

    assert "no etcd snapshot, or was cut short" in refusal(file)


def test_a_snapshot_without_a_note_is_no_backup(tmp_path: Path) -> None:
    file = snapshot(tmp_path)
    metadata_path(file).unlink()

    assert "has no note" in refusal(file)
    assert local_backups(tmp_path) == []


def test_the_latest_is_the_newest_name(tmp_path: Path) -> None:
    snapshot(tmp_path, "campus-20260101T000000Z.db")
    newest = snapshot(tmp_path, "campus-20260102T000000Z.db")

    assert find_local_backup(tmp_path, "latest") == newest
    assert find_local_backup(tmp_path, "campus-20260102T000000Z") == newest


def test_a_missing_backup_names_those_that_are_there(tmp_path: Path) -> None:
    snapshot(tmp_path)
    with pytest.raises(BackupError, match=r"there: a\.db"):
        find_local_backup(tmp_path, "b")


def test_the_newest_five_are_kept(tmp_path: Path) -> None:
    """R31."""
    for number in range(7):
        snapshot(tmp_path, f"{number}.db")
    prune_backups(tmp_path, 5)

    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["2.db", "3.db", "4.db", "5.db", "6.db"]
    assert len(list(tmp_path.glob("*.json"))) == 5, "notes go with their snapshots"


SERVERS = ["server-1", "server-2"]
BEGUN = {"operation": "restore", "host_keys": {"server-1": "old-1", "server-2": "old-2"}}


def test_a_restore_begins_with_all_servers() -> None:
    assert servers_to_replace([], SERVERS, {"server-1": "old-1"}) == SERVERS


def test_an_interrupted_restore_leaves_new_servers_alone() -> None:
    """Making a restored server anew a second time would lose what it restored."""
    assert servers_to_replace([BEGUN], SERVERS, {"server-1": "new", "server-2": "old-2"}) == ["server-2"]


def test_a_restore_that_ended_says_nothing_about_the_next() -> None:
    assert servers_to_replace([BEGUN, {"operation": "restored"}], SERVERS, {"server-1": "new"}) == SERVERS
