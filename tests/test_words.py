"""Names that were given up do not come back: one word for one meaning (docs/glossary.md)."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from config.paths import PROJECT

HERE = Path(__file__).relative_to(PROJECT).as_posix()
SUFFIXES = {".py", ".sh", ".md", ".yaml", ".toml"}
LISTED = subprocess.run(
    ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
).stdout.splitlines()
FILES = sorted(name for name in LISTED if Path(name).suffix in SUFFIXES and name != HERE and (PROJECT / name).exists())

FORMER = {
    "ops": "init inventory validate show prepare site_stack stack settle filestate lost removal update status "
    "address outage doctor preflight rolling backups safekeeping catalogue copies bring escrow passphrase "
    "s3 restore secrets certificates tokens remote kube proxmox_api etcd journal",
    "ops.nodes": "goodbye leave objections picture machine",
    "ops.upgrade": "rolling packages machines",
    "config": "sentences document check tree propose sitefile derived needs deployed explain layer",
    "config.rules": "hours people room work cards siblings resolve releases nearest",
    "components.cluster": "backups",
    "components.platform": "backup",
    "lab.k3s": "formation keeper tools aging vip",
    "lab.host": "direct",
    "lab.host.guest": "alarms commands",
    "lab.controllers": "world",
    "lab.charts": "entry",
    "lab.proxmox.routes": "copies",
}
"""Room -> modules that have another name or another room now."""

WORDS = (
    "anew",
    "goodbye",
    "safekeeping",
    "filestate",
    "sitefile",
    "objections?",
    "for want of",
    "patiently",
    "NotYetError",
    "OverdueError",
    r"\.machines_of",
    "zipped",
    r"\.bare",
)
"""Functions, classes and words that have another name now; matched as words, whatever their case."""

IN_THE_STATE = {
    "components/cluster/node.sh",
    "components/cluster/maintenance.sh",
    "components/cluster/snapshots.sh",
    "components/cluster/snapshot_copies.py",
}
"""Files whose text is in the state of every stack: a changed comment would run them again on every machine."""

GOLDEN = "tests/data/"
"""Golden files repeat what is in the state."""


@cache
def texts() -> dict[str, str]:
    """Contents of all files but those that must not change."""
    names = [name for name in FILES if name not in IN_THE_STATE and not name.startswith(GOLDEN)]
    return {name: (PROJECT / name).read_text() for name in names}


def hits(pattern: str) -> list[str]:
    """`file:line: text` of every match; one pattern for everything, because each takes a while on all files."""
    search = re.compile(pattern, re.IGNORECASE).search
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts().items()
        if search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if search(line)
    ]


def test_words_that_were_given_up_do_not_come_back() -> None:
    assert hits(rf"(?<![a-z])(?:{'|'.join(WORDS)})(?![a-z])") == []


def test_modules_that_were_renamed_are_not_named_any_more() -> None:
    """As an import, or as a path."""
    rooms = [rf"{room.replace('.', '[./]')}[./](?:{'|'.join(names.split())})" for room, names in FORMER.items()]

    assert hits(rf"(?<![\w/.])(?:{'|'.join(rooms)})(?!\w)") == []


@pytest.mark.parametrize("room", FORMER)
def test_modules_that_were_renamed_are_gone(room: str) -> None:
    directory = PROJECT / room.replace(".", "/")

    assert [name for name in FORMER[room].split() if (directory / f"{name}.py").exists()] == []


@pytest.mark.parametrize("name", sorted(IN_THE_STATE))
def test_an_exception_is_still_needed(name: str) -> None:
    assert (PROJECT / name).exists()
