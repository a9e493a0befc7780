"""Keeps copies of the newest etcd snapshots on this machine, with nothing but the standard library.

    snapshot_copies.py SETTINGS

lyceum-backup.service runs it. Each run checks the copies that are here, fetches the newest snapshot of any server if it is
not among them, proves it whole, keeps the newest few, and says in `status.json` how it went. A copy is what `lyceum backup
now` makes: the snapshot and its note, named after the site and the time it was taken.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LINE = re.compile(r"(\d+)\S* (\d+) (\S+)")
DIGEST, PAGE = 32, 512
"""An etcd snapshot is the database, in pages, followed by its SHA-256 (etcd, `snapshot save`)."""
CHUNK = 1 << 20
LIST_SECONDS = 60
SSH = (
    "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes",
    "-o", "GlobalKnownHostsFile=none", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15",
)  # fmt: skip
Settings = dict[str, Any]
"""`site`, `stack`, `seed` (a fingerprint), `keep`, `servers` (name -> address), `user`, `key`, `known_hosts`, `directory`."""


class TroubleError(Exception):
    """Something is not as it should be; the text says what."""


class Snapshot(NamedTuple):
    """A snapshot on a server."""

    taken: int
    name: str
    size: int
    server: str


def main(argv: list[str]) -> int:
    """Runs once; the exit code says whether the newest snapshot is here."""
    os.umask(0o077)
    settings = json.loads(Path(argv[1]).read_text())
    status = run(settings, time.time())
    for line in status["told"]:
        sys.stderr.write(f"{line}\n")
    return 0 if status["ok"] else 1


def run(settings: Settings, now: float) -> dict[str, Any]:
    """Brings the copies up to date and writes the status."""
    home = Path(settings["directory"])
    before = _read(home / "status.json")
    told = list(damaged(home))
    try:
        found, silent = listed(settings)
        told += silent
        ok = len(silent) < len(settings["servers"])
        if found:
            fetch(settings, max(found), home)
        prune(home, settings["keep"])
    except (TroubleError, OSError, subprocess.SubprocessError) as error:
        ok = False
        told.append(str(error))
    copies = [
        json.loads(note.read_text()) | {"file": note.stem, "size": note.with_suffix("").stat().st_size}
        for note in notes(home)
    ]
    status = {"ran": _utc(now), "first": before.get("first", _utc(now)), "ok": ok, "told": told, "copies": copies}
    _write(home / "status.json", status)
    return status


def listed(settings: Settings) -> tuple[list[Snapshot], list[str]]:
    """Snapshots on all servers, and what went wrong at which server."""
    found, silent = [], []
    for server in settings["servers"]:
        command = _ssh(settings, server, "list")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIST_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            silent.append(f"{server}: no list within {LIST_SECONDS} s")
            continue
        if done.returncode:
            silent.append(f"{server}: {done.stderr.strip()[-300:] or f'exit code {done.returncode}'}")
        lines = [match for line in done.stdout.splitlines() if (match := LINE.fullmatch(line))]
        found += [Snapshot(int(line[1]), line[3], int(line[2]), server) for line in lines if NAME.fullmatch(line[3])]
    return found, silent


def fetch(settings: Settings, snapshot: Snapshot, home: Path) -> None:
    """Brings a snapshot here unless it is here already; what is not whole never gets its name.

    Raises:
        TroubleError: it is not what the server has, or no etcd snapshot.
    """
    taken = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(snapshot.taken))
    target = home / f"{settings['site']}-{taken}.db"
    if _note(target).exists():
        return
    partial = target.with_name(f"{target.name}.part")
    with subprocess.Popen(_ssh(settings, snapshot.server, f"get {snapshot.name}"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        head = process.stdout.readline().decode(errors="replace").split()
        with partial.open("wb") as file:
            while chunk := process.stdout.read(CHUNK):
                file.write(chunk)
    if process.returncode or len(head) != 3:
        partial.unlink()
        raise TroubleError(f"{snapshot.server} did not send {snapshot.name}: exit code {process.returncode}")
    digest, release, nodes = head
    if (why := unlike(partial, digest)) is not None:
        partial.unlink()
        raise TroubleError(f"{snapshot.name} of {snapshot.server} {why}: not kept")
    partial.rename(target)
    note = {
        "site": settings["site"],
        "stack": settings["stack"],
        "taken": _utc(snapshot.taken),
        "server": snapshot.server,
        "version": release,
        "nodes": int(nodes),
        "sha256": digest,
        "seed": settings["seed"],
        "snapshot": snapshot.name,
    }
    # It comes last, so a copy with a note is complete.
    _write(_note(target), note)


def unlike(file: Path, digest: str) -> str | None:
    """What is wrong with a snapshot that should have a SHA-256; None where nothing is."""
    whole, database = hashlib.sha256(), hashlib.sha256()
    held = b""
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            whole.update(chunk)
            held += chunk
            database.update(held[:-DIGEST])
            held = held[-DIGEST:]
    if whole.hexdigest() != digest:
        return "has another checksum than on the server"
    if file.stat().st_size % PAGE != DIGEST or database.digest() != held:
        return "has not etcd's own checksum at its end"
    return None


def notes(home: Path) -> list[Path]:
    """Notes of complete copies, oldest first."""
    return sorted(note for note in home.glob("*.db.json") if note.with_suffix("").exists())


def damaged(home: Path) -> Iterator[str]:
    """Checks the copies; deletes and names those that are not what was fetched."""
    for note in notes(home):
        copy = note.with_suffix("")
        if unlike(copy, json.loads(note.read_text())["sha256"]) is not None:
            note.unlink()
            copy.unlink()
            yield f"{copy.name} was damaged on this machine's disk and is deleted; look at the disk"


def prune(home: Path, keep: int) -> None:
    """Deletes all but the newest copies, and what interrupted runs left."""
    for note in notes(home)[:-keep]:
        note.unlink()
        note.with_suffix("").unlink()
    complete = {note.with_suffix("") for note in notes(home)}
    for left in [*home.glob("*.part"), *(set(home.glob("*.db")) - complete)]:
        left.unlink()


def _ssh(settings: Settings, server: str, words: str) -> list[str]:
    files = ("-i", settings["key"], "-o", f"UserKnownHostsFile={settings['known_hosts']}")
    return [*SSH, *files, f"{settings['user']}@{settings['servers'][server]}", words]


def _note(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _write(path: Path, data: dict[str, Any]) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(data, indent=1) + "\n")
    new.replace(path)


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
