"""Names that were given up do not come back: one word for one meaning (docs/glossary.md)."""

import re
import subprocess
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
MODULES = [f"{room}.{name}" for room, names in FORMER.items() for name in names.split()]

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


def hits(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of every match outside the files that must not change."""
    return [
        f"{name}:{number}: {line.strip()}"
        for name in FILES
        if name not in IN_THE_STATE and not name.startswith(GOLDEN)
        for number, line in enumerate((PROJECT / name).read_text().splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_was_given_up_does_not_come_back(word: str) -> None:
    assert hits(re.compile(rf"(?<![a-z]){word}(?![a-z])", re.IGNORECASE)) == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_was_renamed_is_not_named_any_more(module: str) -> None:
    """As an import, as a path, or as the test of that module."""
    places = re.escape(module), re.escape(module.replace(".", "/"))
    pattern = re.compile(rf"(?<![\w/.])(?:{'|'.join(places)})(?!\w)")

    assert hits(pattern) == []
    assert not (PROJECT / module.replace(".", "/")).with_suffix(".py").exists()


@pytest.mark.parametrize("name", sorted(IN_THE_STATE))
def test_an_exception_is_still_needed(name: str) -> None:
    assert (PROJECT / name).exists()
