"""K3s's snapshots in S3, by the stand-in against the lab's store: its settings, its names, its pruning, its words."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.k3s import s3
from lab.k3s.config import Options, load
from lab.k3s.flags import SERVER
from lab.kubernetes import KubeClient, KubernetesError
from tests.support.store import Served, served


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("store")) as found:
        yield found


def flags(store: Served, **changes: str) -> dict[str, str]:
    values = {
        "endpoint": urlsplit(store.settings.endpoint).netloc,
        "endpoint-ca": str(store.settings.ca_file),
        "bucket": "lyceum",
        "folder": "arena/snapshots",
        "access-key": store.access_key,
        "secret-key": store.secret_key,
    }
    return values | {name.replace("_", "-"): value for name, value in changes.items()}


def options(values: dict[str, str], *more: str) -> Options:
    given = [f"--etcd-s3-{name}={value}" for name, value in values.items()]
    found, _ = load(["--config=/nonexistent", "--etcd-s3", *given, *more], SERVER, {})
    return found


def bucket(values: dict[str, str], *more: str, kube: Any = None) -> s3.Bucket:
    return asyncio.run(s3.open_bucket(options(values, *more), kube))


class OneSecret(KubeClient):
    """A cluster that has the settings' Secret, or none."""

    def __init__(self, values: dict[str, str] | None) -> None:
        self.values = values

    async def call(self, method: str, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        if self.values is None:
            raise KubernetesError(404, 'secrets "keys" not found')
        assert path.endswith("/kube-system/secrets/keys")
        return {
            "data": {f"etcd-s3-{key}": base64.b64encode(text.encode()).decode() for key, text in self.values.items()}
        }


def test_what_is_uploaded_is_listed_with_node_and_token(store: Served, tmp_path: Path) -> None:
    file = tmp_path / "etcd-snapshot-cp1-1"
    file.write_bytes(b"x" * 100_000)
    found = bucket(flags(store))
    found.upload(file, {"node-name": "cp1", "token-hash": "0123456789ab"})

    [stored] = found.list_snapshots()
    assert (stored.name, stored.size, stored.node, stored.token_hash) == (file.name, 100_000, "cp1", "0123456789ab")
    assert stored.location == "s3://lyceum/arena/snapshots/etcd-snapshot-cp1-1"
    assert found.download(file.name, tmp_path / "back").read_bytes() == file.read_bytes()
    assert found.delete(file.name)
    assert not found.delete(file.name)


def test_pruning_counts_all_nodes_together_as_k3s_does(store: Served, tmp_path: Path) -> None:
    found = bucket(flags(store, folder="prune"), "--etcd-s3-retention=2")
    for name in ("etcd-snapshot-cp1-1", "etcd-snapshot-cp2-1", "etcd-snapshot-cp3-1", "lyceum-cp1-1"):
        (tmp_path / name).write_bytes(b"x")
        found.upload(tmp_path / name, {})

    assert len(found.prune("etcd-snapshot")) == 1
    assert len(found.list_snapshots()) == 3


def test_the_secret_is_read_when_nothing_else_is_given_and_prunes_nothing(store: Served) -> None:
    secret = flags(store) | {"endpoint-ca": Path(str(store.settings.ca_file)).read_text()}
    found = bucket({}, "--etcd-s3-config-secret=keys", kube=OneSecret(secret))

    assert found.location("x") == "s3://lyceum/arena/snapshots/x"
    assert found.retention == 0


def test_any_other_flag_makes_k3s_ignore_the_secret(store: Served) -> None:
    with pytest.raises(s3.S3Error, match="bucket name was not set"):
        bucket({"region": "eu"}, "--etcd-s3-config-secret=keys", kube=OneSecret(flags(store)))


def test_a_secret_that_is_not_there_yet_is_another_thing_than_a_wrong_one(store: Served) -> None:
    with pytest.raises(s3.NoSecretError, match="failed to get etcd S3 config secret"):
        bucket({}, "--etcd-s3-config-secret=keys", kube=OneSecret(None))
    with pytest.raises(s3.NoSecretError, match="core not ready"):
        bucket({}, "--etcd-s3-config-secret=keys")


def test_a_bucket_that_does_not_exist_is_reported(store: Served) -> None:
    with pytest.raises(s3.S3Error, match="bucket nowhere does not exist"):
        bucket(flags(store, bucket="nowhere"))


def test_without_the_ca_the_store_is_not_trusted(store: Served) -> None:
    values = flags(store)
    del values["endpoint-ca"]
    with pytest.raises(s3.S3Error, match="CERTIFICATE_VERIFY_FAILED"):
        bucket(values)


def test_a_wrong_key_is_refused_by_the_store(store: Served) -> None:
    with pytest.raises(s3.S3Error, match="403"):
        bucket(flags(store, secret_key="wrong"))
