"""Backups in the campus's object store, and what is left when everything else is lost. Told in order.

With one server: how others join a restored one is told in test_life.

Fault matrix: Q6, X1.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.backup.inventory import SNAPSHOT_FILES_PATH
from tests.lab.life import canary
from tests.lab.life.conftest import edit_site
from tests.support import sentinels
from tests.support.project import Project

pytestmark = pytest.mark.lab

NODES = ("server-1", "gpu-1", "gpu-2")
FAILED, REFUSED = 1, 3
PASSPHRASE = "correct horse battery"
BURN = """
import sys
from pathlib import Path
from components.proxmox.client import Pve, wait_for_value
run = Path(sys.argv[1])
pve = Pve('https://10.21.0.11:8006/', (run / 'proxmox-token').read_text().strip(), str(run / 'ca.pem'))
for vm in pve.call('GET', 'cluster/resources', type='vm'):
    path = f"nodes/{vm['node']}/qemu/{vm['vmid']}"
    pve.call('POST', f'{path}/status/stop')
    off = lambda: pve.call('GET', f'{path}/status/current')['status'] == 'stopped' or None
    wait_for_value('the machine to be off', 60, lambda: off() and 'off')
    pve.call('DELETE', path, purge='1')
gone = lambda: 'gone' if not pve.call('GET', 'cluster/resources', type='vm') else None
wait_for_value('the machines to be gone', 60, gone)
"""
"""Deletes every machine, as a fire does."""


@pytest.fixture(scope="module", autouse=True)
def _one_server(campus: Project) -> None:
    server = {"name": "server-1", "role": "server", "host": "pve1", "shape": "server", "address": "10.21.0.31"}
    with edit_site(campus) as site:
        site["nodes"] = [server, *(group for group in site["nodes"] if group["role"] != "server")]


@pytest.fixture(name="passphrase")
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_RECOVERY_PASSPHRASE", PASSPHRASE)


@pytest.fixture(name="s3")
def _s3(campus: Project) -> Iterator[Any]:
    """Changes the site's settings of the store; they are put back afterwards."""
    file = campus.path / "config" / "sites" / "lab.yaml"
    before = file.read_text()

    def change(**changes: str) -> None:
        with edit_site(campus) as site:
            site["platform"]["backup"]["s3"] |= {name.replace("_", "-"): value for name, value in changes.items()}

    yield change
    file.write_text(before)


def listed(campus: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(campus.lyceum("backup", "list", "dev", "--json"))
    return found


def newest_places(campus: Project) -> list[str]:
    places: list[str] = listed(campus)["snapshots"][-1]["places"]
    return places


def in_s3(campus: Project) -> list[str]:
    """Names of K3s's snapshots in S3, as the cluster knows them."""
    items = json.loads(campus.kubectl("get", "--raw", SNAPSHOT_FILES_PATH))["items"]
    return [item["spec"]["snapshotName"] for item in items if item["spec"]["nodeName"] == "s3"]


def forget_everything(campus: Project) -> None:
    """What is lost with the operators' machine: backups, the engine's state, the journal, the seed."""
    for name in ("backups", "state", "locks"):
        shutil.rmtree(campus.path / ".lyceum" / name)
    (campus.path / ".lyceum" / "journal.jsonl").unlink()
    (campus.run / "seed").unlink()


def burn(campus: Project) -> None:
    subprocess.run([*campus.inside(), sys.executable, "-c", BURN, str(campus.run)], cwd=campus.path, check=True)
    assert campus.machines() == {}


def test_a_backup_lies_on_the_server_here_and_in_the_store(campus: Project) -> None:
    secrets = sentinels.of(campus.run)
    with sentinels.watched_arguments(secrets) as seen:
        campus.lyceum("up", "dev", "--yes")
        canary.deploy(campus)
        reported = campus.lyceum("backup", "now", "dev")

    assert not seen, "an argument can be read by everybody on the machine"
    assert "./lyceum backup escrow dev" in reported, "without the seed's escrow the copy in S3 is worth nothing"
    assert newest_places(campus) == ["server-1", "here", "S3"]
    [name] = in_s3(campus)
    assert name.startswith("lyceum-server-1-")


def test_the_bucket_is_examined_before_anything_is_built(campus: Project) -> None:
    reported = campus.lyceum("doctor", "lab")

    assert "bucket s3://lyceum/lab/ can be listed, written, read and deleted from here" in reported


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"bucket": "nowhere"}, "there is no bucket nowhere at https://10.21.0.3:9000"),
        (
            {"ca_file": "/etc/ssl/certs/ca-certificates.crt"},
            "the certificate of https://10.21.0.3:9000 is not signed by",
        ),
        ({"endpoint": "https://10.21.0.3:9001"}, "https://10.21.0.3:9001 does not answer"),
    ],
)
def test_what_is_wrong_with_the_store_is_reported_by_name(
    campus: Project, s3: Any, changes: dict[str, str], reported: str
) -> None:
    s3(**changes)

    assert reported in campus.lyceum("doctor", "lab", code=FAILED)
    found = listed(campus)
    assert any(reported in line for line in found["worries"])
    assert found["snapshots"], "what lies in other places is listed all the same"


@pytest.mark.parametrize(
    ("key", "reported"),
    [("s3-access-key", "does not know the access key"), ("s3-secret-key", "rejects the secret key")],
)
def test_a_wrong_key_is_reported_by_name(campus: Project, key: str, reported: str) -> None:
    file = campus.run / key
    right = file.read_text()
    file.write_text("AKIAWRONG")
    try:
        said = campus.lyceum("backup", "verify", "dev", code=FAILED)
    finally:
        file.write_text(right)

    assert reported in said
    assert f"./lyceum secrets set lab {key}" in said


def test_an_upload_that_fails_on_the_server_is_reported_with_k3ss_reason(campus: Project) -> None:
    """K3s itself calls such a snapshot saved."""
    patch = ["-n", "kube-system", "patch", "secret", "lyceum-etcd-s3", "-p"]
    campus.kubectl(*patch, json.dumps({"stringData": {"etcd-s3-bucket": "nowhere"}}))
    reported = campus.lyceum("backup", "now", "dev", code=FAILED)
    worries = campus.status()["backups"]
    campus.kubectl(*patch, json.dumps({"stringData": {"etcd-s3-bucket": "lyceum"}}))

    assert "did not upload it to s3://lyceum/lab/: bucket nowhere does not exist" in reported
    assert any("the last upload to S3 failed" in line for line in worries)
    campus.lyceum("backup", "now", "dev")
    assert not any("the last upload" in line for line in campus.status()["backups"])


@pytest.mark.usefixtures("passphrase")
def test_the_seed_goes_into_escrow_and_is_proven_to_be_the_snapshots(campus: Project) -> None:
    reported = campus.lyceum("backup", "escrow", "dev")

    assert "s3://lyceum/lab/escrow.json" in reported
    proven = campus.lyceum("backup", "verify", "dev")
    assert "s3:lyceum-server-1-" in proven
    assert "holds this stack's seed" in proven
    assert campus.status()["backups"] == []


def test_all_machines_and_all_that_lay_here_are_lost_and_come_back_from_the_store(
    campus: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers, workers, backups, the engine's state and the seed: only the bucket and a passphrase on paper are left."""
    canary.assert_running(campus)
    campus.lyceum("backup", "now", "dev")
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "namespace": "canary"}}
    canary.apply(campus, late)
    secrets = sentinels.of(campus.run) | {"passphrase": PASSPHRASE}
    burn(campus)
    forget_everything(campus)
    assert "the recovery passphrase is missing" in campus.lyceum("restore", "dev", code=2)
    monkeypatch.setenv("LYCEUM_RECOVERY_PASSPHRASE", "wrong horse battery")
    assert "the passphrase does not decrypt the escrow" in campus.lyceum("restore", "dev", code=REFUSED)
    monkeypatch.setenv("LYCEUM_RECOVERY_PASSPHRASE", PASSPHRASE)
    assert "nothing was changed" in campus.lyceum("restore", "dev", "--dry-run")
    assert not (campus.run / "seed").exists()
    shutil.rmtree(campus.path / ".lyceum" / "backups")

    with sentinels.watched_arguments(secrets) as seen:
        campus.lyceum("restore", "dev", "--yes-restore", "lab")

    assert not seen
    canary.assert_consistent(campus, *NODES)
    canary.assert_running(campus)
    names = [item["metadata"]["name"] for item in campus.objects("configmaps", "--namespace", "canary")]
    assert "late" not in names
    assert (campus.run / "seed").read_text().strip() == secrets["seed"]


def test_afterwards_there_is_nothing_left_to_do_and_backups_go_on(campus: Project) -> None:
    reported = campus.lyceum("up", "dev", "--yes")

    assert " created" not in reported
    assert " replaced" not in reported
    campus.lyceum("backup", "now", "dev")
    assert newest_places(campus) == ["server-1", "here", "S3"]
    assert campus.status()["backups"] == [], "the escrow outlived the fire"


def test_neither_keys_nor_seed_nor_passphrase_are_readable_anywhere(campus: Project) -> None:
    secrets = sentinels.of(campus.run) | {"passphrase": PASSPHRASE}
    places: list[Path] = [
        *(campus.path / ".lyceum" / "state").rglob("*"),
        *(campus.path / ".lyceum" / "backups").rglob("*.json"),
        *(campus.run / "log").rglob("*"),
        campus.path / ".lyceum" / "journal.jsonl",
    ]
    found = [
        f"{name} in {file}"
        for file in places
        if file.is_file()
        for name, text in secrets.items()
        if text in file.read_text(errors="replace")
    ]

    assert not found
