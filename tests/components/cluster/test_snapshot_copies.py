"""The program that keeps copies of snapshots, run as the timer runs it, with a server behind a stand-in for ssh."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.cluster import snapshot_copies
from config.key_derivation import seed_fingerprint
from ops.backup.metadata import local_backups, verify_backup

HOUR = 3600
NOW = 1_800_000_000
SEED = "5eed" * 16
SSH = """#!/bin/bash
# Server a address of $SERVERS, which holds the files of its directory; the words come last.
host=${*: -2:1} words=${*: -1}
directory=$SERVERS/${host#*@}
printf '%s\\n' "$*" >>"$SERVERS/log"
[[ -d $directory ]] || { echo "Host key verification failed." >&2; exit 255; }
case $words in
list) find "$directory" -type f -printf '%T@ %s %f\\n' ;;
get\\ *)
    read -r digest _ < <(sha256sum "$directory/${words#get }")
    echo "$(cat "$SERVERS/digest" 2>/dev/null || echo "$digest") v1.36.4+k3s1 5"
    cat "$directory/${words#get }"
    [[ ! -e $SERVERS/cut ]]
    ;;
esac
"""


def snapshot(text: str) -> bytes:
    """A file as etcd writes one: pages, then their SHA-256."""
    database = text.encode().ljust(1024, b"\0")
    return database + hashlib.sha256(database).digest()


class Servers:
    """Servers with snapshots, the operators' machine, and its runs."""

    def __init__(self, path: Path) -> None:
        self.path = path / "servers"
        self.home = path / "copies"
        self.settings = {
            "site": "campus",
            "stack": "prod",
            "seed": seed_fingerprint(SEED),
            "keep": 2,
            "servers": {"server-1": "one", "server-2": "two"},
            "user": "lyceum-backup",
            "key": "key",
            "known_hosts": "known_hosts",
            "directory": str(self.home),
        }
        for directory in (self.path / "one", self.path / "two", self.home, path / "bin"):
            directory.mkdir(parents=True)
        ssh = path / "bin" / "ssh"
        ssh.write_text(SSH)
        ssh.chmod(0o755)

    def take(self, server: str, hours: int, content: bytes | None = None) -> None:
        """A server takes a snapshot, so many hours after NOW."""
        file = self.path / server / f"etcd-snapshot-{server}-{NOW + hours * HOUR}"
        file.write_bytes(content or snapshot(f"{server} at {hours}"))
        subprocess.run(["touch", "-d", f"@{NOW + hours * HOUR}", file], check=True)

    def run(self) -> int:
        """Runs the program; returns its exit code."""
        file = self.path / "settings.json"
        file.write_text(json.dumps(self.settings))
        done = subprocess.run(
            [sys.executable, snapshot_copies.__file__, str(file)],
            env={"PATH": f"{self.path.parent}/bin:/usr/bin:/bin", "SERVERS": str(self.path)},
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "status.json").read_text())
        return found

    @property
    def fetched(self) -> list[str]:
        log = self.path / "log"
        return [line.rpartition(" get ")[2] for line in log.read_text().splitlines() if " get " in line]

    @property
    def kept(self) -> list[str]:
        return sorted(file.name for file in self.home.iterdir() if file.name != "status.json")


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    return Servers(tmp_path)


def test_the_newest_snapshot_of_any_server_is_fetched_once(servers: Servers) -> None:
    servers.take("one", 0)
    servers.take("two", 6)

    assert (servers.run(), servers.run()) == (0, 0)
    assert servers.fetched == [f"etcd-snapshot-two-{NOW + 6 * HOUR}"]
    assert servers.status["ok"] is True
    assert servers.status["told"] == []


def test_a_copy_is_a_backup_that_restore_takes(servers: Servers) -> None:
    """The operators restore from it when every server is lost."""
    servers.take("one", 0)
    servers.run()
    [copy] = local_backups(servers.home)
    note = verify_backup(copy, SEED, "campus")

    assert copy.name == "campus-20270115T080000Z.db"
    assert (note.server, note.taken, note.version, note.nodes) == (
        "server-1", "2027-01-15T08:00:00Z", "v1.36.4+k3s1", 5,
    )  # fmt: skip


def test_as_many_are_kept_as_the_site_says(servers: Servers) -> None:
    for hours in (0, 6, 12):
        servers.take("one", hours)
        assert servers.run() == 0

    assert [Path(name).suffix for name in servers.kept] == [".db", ".json"] * 2
    assert [copy["taken"] for copy in servers.status["copies"]] == ["2027-01-15T14:00:00Z", "2027-01-15T20:00:00Z"]


def test_a_server_that_does_not_answer_is_reported_and_the_others_do(servers: Servers) -> None:
    servers.take("one", 0)
    (servers.path / "two").rmdir()

    assert servers.run() == 0
    assert servers.status["told"] == ["server-2: Host key verification failed."]
    assert len(servers.status["copies"]) == 1


def test_with_no_server_it_fails_and_keeps_what_it_has(servers: Servers) -> None:
    servers.take("one", 0)
    servers.run()
    before = servers.kept
    servers.settings["servers"] = {"server-9": "nine"}

    assert servers.run() == 1
    assert servers.status["ok"] is False
    assert servers.kept == before


@pytest.mark.parametrize(
    ("mistake", "reported"),
    [
        ("digest", "has another checksum than on the server: not kept"),
        ("cut", "did not send"),
        ("content", "has not etcd's own checksum at its end: not kept"),
    ],
)
def test_what_is_not_whole_is_not_kept(servers: Servers, mistake: str, reported: str) -> None:
    servers.take("one", 0, content=b"half a page" if mistake == "content" else None)
    (servers.path / mistake).write_text("0" * 64)

    assert servers.run() == 1
    assert reported in " ".join(servers.status["told"])
    assert servers.kept == []


def test_a_copy_that_the_disk_damaged_is_reported_and_fetched_again(servers: Servers) -> None:
    servers.take("one", 0)
    servers.run()
    [copy] = local_backups(servers.home)
    copy.write_bytes(copy.read_bytes().replace(b"one", b"two"))

    assert servers.run() == 0
    assert f"{copy.name} was damaged" in " ".join(servers.status["told"])
    assert verify_backup(copy, SEED, "campus").server == "server-1"


def test_what_an_interrupted_run_left_goes(servers: Servers) -> None:
    servers.take("one", 0)
    for name in ("campus-20200101T000000Z.db", "campus-20200101T000000Z.db.part"):
        (servers.home / name).write_text("half")
    servers.run()

    assert [name for name in servers.kept if "2020" in name] == []


def test_before_the_first_snapshot_there_is_nothing_wrong(servers: Servers) -> None:
    assert servers.run() == 0
    first = servers.status["first"]
    servers.run()
    assert (servers.status["copies"], servers.status["first"]) == ([], first), "since when it waits is remembered"


def test_a_servers_key_is_pinned_and_nothing_is_asked(servers: Servers) -> None:
    servers.run()
    [one, _] = (servers.path / "log").read_text().splitlines()

    assert "-o StrictHostKeyChecking=yes" in one
    assert "-o BatchMode=yes" in one
    assert "-o UserKnownHostsFile=known_hosts" in one
    assert one.endswith("lyceum-backup@one list")


def test_names_that_are_no_snapshots_are_left_alone(servers: Servers) -> None:
    """What a server lists becomes a word of a command on it."""
    (servers.path / "one" / "x;reboot").write_text("x")

    assert servers.run() == 0
    assert servers.fetched == []
