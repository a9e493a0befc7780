"""A full etcd, a real one with a quota of eight MiB: how it is reported and made writable again (fault matrix Q5)."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.certificates import ensure_authority, issue
from ops.clients import etcd
from ops.clients.ssh import RemoteError
from ops.nodes.etcd_commands import reclaim_space
from tests.support.ports import free_port
from toolchain import environment

QUOTA = 8 * 1024**2
START_SECONDS = 60


@dataclass(frozen=True)
class Here:
    """This machine in the role of a server: scripts use the certificates and the port of this test's etcd."""

    name: str
    certificates: Path
    port: int

    def run(self, script: str, *, seconds: float = 300) -> str:
        moved = script.replace(etcd.CERTIFICATE_DIR, str(self.certificates)).replace("2382 2379", str(self.port))
        assert moved.count(str(self.port)) == 1
        done = subprocess.run(["bash", "-s"], input=moved, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RemoteError(f"{self.name}: {done.stderr.strip()}")
        return done.stdout

    def put(self, key: str, size: int) -> None:
        """Writes a value of a size under a key; all but the last value of a key are history."""
        body = {"key": base64.b64encode(key.encode()).decode(), "value": base64.b64encode(b"x" * size).decode()}
        file = self.certificates / "body.json"
        file.write_text(json.dumps(body))
        self.run(etcd.etcd_script(f"etcd kv/put @{file} >/dev/null\n"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Here]:
    authority = (tmp_path / "server-ca.crt", tmp_path / "ca.key")
    ensure_authority(*authority, "etcd")
    issue(authority, ["localhost"], ["127.0.0.1"], tmp_path / "client.crt", tmp_path / "client.key")
    client, peer = f"https://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        environment.binary("kube"), "etcd", f"--data-dir={tmp_path / 'data'}", f"--quota-backend-bytes={QUOTA}",
        f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--unsafe-no-fsync",
        f"--cert-file={tmp_path / 'client.crt'}", f"--key-file={tmp_path / 'client.key'}", "--log-level=error",
    ]  # fmt: skip
    here = Here("server-1", tmp_path, int(client.rpartition(":")[2]))
    with subprocess.Popen(command) as process:
        try:
            end = time.monotonic() + START_SECONDS
            while isinstance(found := look(here), str):
                assert time.monotonic() < end, f"etcd did not start: {found}"
                time.sleep(0.1)
            yield here
        finally:
            process.kill()


def look(here: Here) -> etcd.EtcdMember | str:
    return etcd.read_members({here.name: here})[here.name]  # type: ignore[dict-item]


def fill(here: Here) -> None:
    with pytest.raises(RemoteError, match="database space exceeded"):
        for _ in range(20):
            here.put("same", 1_000_000)


@pytest.mark.lab
def test_a_full_etcd_is_reported_and_made_writable_again(server: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(server)
    full = look(server)
    assert isinstance(full, etcd.EtcdMember)
    assert (full.quota, full.is_leader) == (QUOTA, True)
    assert re.match(r"etcd is full \(alarm NOSPACE, \d+ of 8 MiB\): no writes are accepted", full.problem)

    reclaim_space({"server-1": server}, [full], full.alarms)  # type: ignore[dict-item]

    well = look(server)
    assert isinstance(well, etcd.EtcdMember)
    assert well.problem == ""
    assert well.size < full.size / 2, "the file must have become smaller"
    server.put("same", 1_000_000)


@pytest.mark.lab
def test_an_interrupted_defragmentation_is_finished_by_the_next_run(server: Here) -> None:
    """After each step: history that is compacted already, a file that is small already, an alarm that is still raised."""
    fill(server)
    full = look(server)
    assert isinstance(full, etcd.EtcdMember)
    for done in range(3):
        for script in (etcd.compact_script(full.revision), etcd.DEFRAGMENT_SCRIPT, etcd.disarm_script(full.alarms))[
            :done
        ]:
            server.run(script)
        if done < 2:
            assert look(server).alarms == full.alarms, "the alarm goes last"  # type: ignore[union-attr]

    reclaim_space({"server-1": server}, [full], full.alarms)  # type: ignore[dict-item]
    server.put("same", 1_000_000)


def member(**changes: int) -> etcd.EtcdMember:
    status = {
        "header": {"member_id": "1", "revision": "7"},
        "leader": "2",
        "dbSize": str(changes.get("size", 0)),
        "dbSizeQuota": "100000000",
    }
    return etcd.parse_member("server-1", f"{json.dumps(status)}\n{{}}\n")


def test_a_nearly_full_etcd_is_reported() -> None:
    assert member(size=79_000_000).problem == ""
    assert member(size=81_000_000).problem == "etcd is nearly full on server-1 (77 of 95 MiB)"


def test_a_server_that_does_not_answer_is_reported_with_the_reason() -> None:
    class Dead:
        name = "server-2"

        def run(self, script: str, *, seconds: float = 300) -> str:
            raise RemoteError("server-2 (10.9.0.32) over SSH: no answer in time")

    found = etcd.read_members({"server-2": Dead()})  # type: ignore[dict-item]
    assert found == {"server-2": "server-2 (10.9.0.32) over SSH: no answer in time"}
