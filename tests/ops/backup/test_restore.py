"""What a restore starts from: the snapshot, the seed and the machines that still exist."""

import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from config.key_derivation import seed_fingerprint, token_hash
from config.tokens import TokenGenerations, TokenKind, derive_token
from ops.backup import passphrase, restore
from ops.backup.inventory import StoredObject
from ops.backup.key_escrow import ESCROW_OBJECT, seal_seed
from ops.backup.metadata import (
    BackupError,
    SnapshotMetadata,
    local_backups,
    read_metadata,
    token_generation,
    verify_backup,
    write_metadata,
)
from ops.backup.restore import _activate_generation, _find_backup, _find_seed, remove_departed_nodes
from ops.backup.s3 import ObjectStore
from ops.clients.kubernetes import Kube
from ops.engine.stack import Stack
from tests.ops.fake_kube import FakeKube
from tests.ops.objects import node, osd

SEED, OTHER = "5eed" * 16, "0ddd" * 16
SITE, T0 = "arena", 1_800_000_000
DAY = 86_400


def token_of(seed: str, number: int = 1) -> str:
    return token_hash(derive_token(seed, TokenKind.SERVER, number))


def content() -> bytes:
    database = os.urandom(2048)
    return database + sha256(database).digest()


@dataclass
class Bucket:
    """An object store: snapshots by name with K3s's metadata, and other objects."""

    kept: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    token: str = token_of(SEED)

    def list_snapshots(self) -> list[StoredObject]:
        return [StoredObject(name, len(data), T0) for name, data in self.kept.items()]

    def download_snapshot(self, name: str, target: Path) -> None:
        target.write_bytes(self.kept[name])

    def snapshot_metadata(self, name: str) -> dict[str, str]:
        return {"token-hash": self.token, "node-name": "server-2"}

    def read_object(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def location(self, name: str = "") -> str:
        return f"s3://lyceum/arena/{name}"


@dataclass
class OneStack:
    """A stack with or without a seed."""

    seed: str | None = None
    name: str = "prod"

    @property
    def site(self) -> Any:
        return type("Site", (), {"name": SITE})

    def find_secret(self, name: str) -> str | None:
        return self.seed


def chosen(bucket: Bucket | None, home: Path, source: str = "latest") -> Path:
    return _find_backup(cast(Stack, OneStack()), cast(ObjectStore, bucket) if bucket else None, home, source)


def seed_of(bucket: Bucket | None, stack: OneStack, escrow: str = "", file: Path | None = None) -> tuple[str, bool]:
    return _find_seed(cast(Stack, stack), cast(ObjectStore, bucket) if bucket else None, escrow, file)


def kept_here(home: Path, taken: str, name: str) -> Path:
    file = home / f"{SITE}-{name}.db"
    file.write_bytes(content())
    digest = sha256(file.read_bytes()).hexdigest()
    write_metadata(
        file,
        SnapshotMetadata(
            SITE, "prod", taken, "server-1", "v1", 5, digest, seed_fingerprint(SEED), token_of(SEED), f"lyceum-{name}"
        ),
    )
    return file


def in_bucket(*times: int) -> Bucket:
    return Bucket({f"etcd-snapshot-server-2-{time}": content() for time in times})


def test_latest_is_the_newest_of_this_machine_and_the_store(tmp_path: Path) -> None:
    local = kept_here(tmp_path, "2027-01-15T08:00:00Z", "a")  # T0

    assert chosen(in_bucket(T0 - DAY), tmp_path) == local
    newer = chosen(in_bucket(T0 - DAY, T0 + DAY), tmp_path)
    assert read_metadata(newer).snapshot == f"etcd-snapshot-server-2-{T0 + DAY}"


def test_a_snapshot_that_only_the_store_has_is_downloaded_with_k3s_metadata(tmp_path: Path) -> None:
    file = chosen(in_bucket(T0), tmp_path)

    assert local_backups(tmp_path) == [file]
    note = verify_backup(file, SEED, SITE)
    assert (note.server, note.taken, note.snapshot) == (
        "server-2",
        "2027-01-15T08:00:00Z",
        f"etcd-snapshot-server-2-{T0}",
    )


def test_a_snapshot_of_another_token_is_refused_by_its_token_hash(tmp_path: Path) -> None:
    bucket = in_bucket(T0)
    bucket.token = token_of(OTHER)

    with pytest.raises(BackupError, match="token missing: snapshot unusable"):
        verify_backup(chosen(bucket, tmp_path), SEED, SITE)


@pytest.mark.parametrize("number", [1, 2, 30])
def test_the_token_generation_is_found_by_its_hash(tmp_path: Path, number: int) -> None:
    bucket = in_bucket(T0)
    bucket.token = token_of(SEED, number)

    assert token_generation(verify_backup(chosen(bucket, tmp_path), SEED, SITE), SEED) == number


@dataclass
class Rotated:
    """A stack whose server token was rotated."""

    generations: TokenGenerations

    def set_generations(self, generations: TokenGenerations) -> None:
        self.generations = generations


@pytest.mark.parametrize(
    ("before", "found", "after"),
    [
        (TokenGenerations(), 1, TokenGenerations()),
        (TokenGenerations(server_token=3, newest=4), 2, TokenGenerations(server_token=2, newest=4)),
        (TokenGenerations(), 3, TokenGenerations(server_token=3, newest=3)),
        (
            TokenGenerations(server_token=1, newest=2, rotating=TokenKind.SERVER),
            1,
            TokenGenerations(server_token=1, newest=2),
        ),
    ],
)
def test_the_token_generation_of_the_snapshot_becomes_current(
    before: TokenGenerations, found: int, after: TokenGenerations
) -> None:
    """No generation is used for two tokens, and a rotation that the restore reverts has ended."""
    stack = Rotated(before)
    _activate_generation(cast(Stack, stack), found)

    assert stack.generations == after


def test_a_truncated_snapshot_in_the_store_is_refused(tmp_path: Path) -> None:
    bucket = Bucket({f"etcd-snapshot-server-2-{T0}": content()[:-40]})

    with pytest.raises(BackupError, match="truncated"):
        verify_backup(chosen(bucket, tmp_path), SEED, SITE)


def test_an_unknown_snapshot_is_refused_with_the_available_names(tmp_path: Path) -> None:
    with pytest.raises(
        BackupError, match=rf"no snapshot `x` in s3://lyceum/arena/; available: etcd-snapshot-server-2-{T0}"
    ):
        chosen(in_bucket(T0), tmp_path, "s3:x")
    with pytest.raises(BackupError, match=r"set platform\.backup\.s3"):
        chosen(None, tmp_path, "s3:latest")


def test_a_local_backup_is_found_by_k3s_name_without_a_request_to_the_store(tmp_path: Path) -> None:
    file = kept_here(tmp_path, "2027-01-15T08:00:00Z", "a")

    assert chosen(None, tmp_path, "lyceum-a") == file


def test_a_local_seed_takes_precedence_over_the_escrow() -> None:
    assert seed_of(None, OneStack(SEED)) == (SEED, False)


def test_a_lost_seed_is_read_from_its_escrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal_seed(SEED, SITE, "2027-01-01T00:00:00Z", "correct horse battery")
    (tmp_path / "escrow.json").write_bytes(sealed)
    (tmp_path / "words").write_text("correct horse battery\n")
    bucket = Bucket(objects={ESCROW_OBJECT: sealed})

    assert seed_of(bucket, OneStack(), file=tmp_path / "words") == (SEED, True)
    assert seed_of(None, OneStack(), str(tmp_path / "escrow.json"), tmp_path / "words") == (SEED, True)
    monkeypatch.setenv(passphrase.ENVIRONMENT_VARIABLE, "correct horse battery")
    assert seed_of(bucket, OneStack(OTHER), "s3") == (SEED, True), "asked for by name it goes before the one at hand"


def test_a_restore_without_seed_and_escrow_is_refused() -> None:
    with pytest.raises(BackupError, match="token missing: snapshot unusable"):
        seed_of(Bucket(), OneStack())
    with pytest.raises(BackupError, match="the escrow file nowhere does not exist"):
        seed_of(None, OneStack(), "nowhere")


def test_nodes_removed_after_the_snapshot_are_deleted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot brings back their Nodes and the OSDs that were purged with them."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    kube = FakeKube([node("gpu-1"), node("gpu-9", ready=False)], osds=[osd(1, "gpu-1"), osd(2, "gpu-9")])
    remove_departed_nodes(cast("Kube", kube), {"gpu-1"})

    assert kube.log == ["delete gpu-9", "delete gpu-9.node-password.k3s", "delete rook-ceph-osd-2"]


def test_a_ready_node_that_is_not_ours_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restore, "NOT_READY_SECONDS", 0)
    kube = FakeKube([node("gpu-1"), node("laptop")])
    remove_departed_nodes(cast("Kube", kube), {"gpu-1"})

    assert kube.log == []
    assert "laptop is Ready" in capsys.readouterr().out
