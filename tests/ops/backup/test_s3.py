"""Errors of an object store name what is wrong: endpoint, certificate, access key, secret key, bucket, rights."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from config.services import S3
from ops.backup.s3 import ObjectStore, StoreError, explain_error
from tests.support.store import Served, served


@pytest.fixture(name="served_store", scope="module")
def _served_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("store")) as found:
        yield found


def store(of: Served, site: str = "arena", **changes: Any) -> ObjectStore:
    keys = {"access_key": of.access_key, "secret_key": of.secret_key}
    given = {name: str(changes.pop(name, value)) for name, value in keys.items()}
    return ObjectStore(of.settings.model_copy(update=changes), site, given["access_key"], given["secret_key"])


def refusal(of: Served, **changes: Any) -> str:
    with pytest.raises(StoreError) as reported:
        store(of, **changes).probe()
    assert of.secret_key not in str(reported.value)
    return str(reported.value)


def test_probe_of_a_working_store_leaves_no_object(served_store: Served) -> None:
    good = store(served_store)
    good.probe()

    assert good.read_object("probe") is None
    assert good.list_snapshots() == []


def test_an_unknown_access_key_is_named(served_store: Served) -> None:
    reported = refusal(served_store, access_key="AKIAWRONG")

    assert "does not know the access key; set it again: ./lyceum secrets set arena s3-access-key" in reported


def test_a_wrong_secret_key_is_named(served_store: Served) -> None:
    reported = refusal(served_store, secret_key="wrong")

    assert "rejects the secret key" in reported
    assert "./lyceum secrets set arena s3-secret-key" in reported


def test_a_missing_bucket_is_named(served_store: Served) -> None:
    assert "there is no bucket nowhere at https://127.0.0.1" in refusal(served_store, bucket="nowhere")


def test_a_certificate_of_an_unknown_ca_is_named(served_store: Served) -> None:
    reported = refusal(served_store, ca_file=None)

    assert "is not signed by a public CA" in reported
    assert "set its CA in platform.backup.s3.ca-file" in reported


def test_a_certificate_of_another_ca_is_named(served_store: Served, tmp_path: Path) -> None:
    with served(tmp_path) as other:
        reported = refusal(served_store, ca_file=other.settings.ca_file)

    assert f"is not signed by {other.settings.ca_file}" in reported


def test_a_missing_ca_file_is_named(served_store: Served) -> None:
    assert "there is no file gone.pem; correct platform.backup.s3.ca-file" in refusal(
        served_store, ca_file=Path("gone.pem")
    )


def test_an_unreachable_endpoint_is_named(served_store: Served) -> None:
    reported = refusal(served_store, endpoint="https://127.0.0.1:9")

    assert reported.startswith("https://127.0.0.1:9 does not answer: ")
    assert "Connection refused; check platform.backup.s3.endpoint" in reported


@pytest.mark.parametrize(
    ("code", "reported"),
    [
        ("AccessDenied", "grant it list, read, write and delete"),
        ("RequestTimeTooSkewed", "compare both with a time server"),
        ("AuthorizationHeaderMalformed", "correct platform.backup.s3.region"),
        ("SlowDown", "answers: SlowDown please; ask the administrators of the store"),
    ],
)
def test_an_s3_error_gives_a_remedy(code: str, reported: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "please"}}, "ListObjectsV2")

    assert reported in str(explain_error(error, S3(endpoint="https://s3.campus.example", bucket="lyceum"), "arena"))


def test_only_objects_in_k3s_folder_are_snapshots(served_store: Served, tmp_path: Path) -> None:
    ours = store(served_store, site="lists")
    ours.write_object("escrow.json", b"{}")
    ours.write_object("snapshots/.metadata/etcd-snapshot-1", b"{}")
    ours.write_object("snapshots/etcd-snapshot-server-1-1700000000", b"etcd")
    store(served_store, site="lists-2").write_object("snapshots/etcd-snapshot-server-1-1800000000", b"etcd")

    [one] = ours.list_snapshots()
    assert (one.name, one.size) == ("etcd-snapshot-server-1-1700000000", 4)
    ours.download_snapshot(one.name, tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == b"etcd"
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o600
    ours.delete_snapshot(one.name)
    assert ours.list_snapshots() == []


def test_k3s_metadata_of_a_snapshot_is_read(served_store: Served) -> None:
    ours = store(served_store, site="said")
    meta = {"k3s-token-hash": "0123456789ab", "k3s-node-name": "server-1", "other": "x"}
    ours._client.put_object(Bucket="lyceum", Key="said/snapshots/one", Body=b"x", Metadata=meta)

    assert ours.snapshot_metadata("one") == {"token-hash": "0123456789ab", "node-name": "server-1"}


def test_the_store_log_holds_no_secret_key(served_store: Served) -> None:
    assert served_store.secret_key not in served_store.log.read_text()
