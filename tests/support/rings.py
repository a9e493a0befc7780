"""The rings of the tests, what each took, and the order in which files run side by side: the longest first.

Most of the lab's time is waiting, so several processes share two cores. What starts last decides when all are done.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

RINGS = ("units", "engine", "lab")
LOST = "lost"
"""The row of tests whose process died: their reports name no ring."""
MINUTE = 60.0
SECONDS = {
    "tests/lab/life/test_control_plane.py": 860,
    "tests/lab/life/test_faults.py": 1300,
    "tests/lab/life/test_scale.py": 600,
    "tests/lab/life/test_life.py": 1100,
    "tests/lab/life/test_upgrades.py": 1140,
    "tests/lab/life/test_kinds.py": 580,
    "tests/lab/life/test_backup_s3.py": 380,
    "tests/lab/e2e/test_alpha.py": 310,
    "tests/lab/e2e/test_kill.py": 210,
    "tests/lab/k3s/test_cluster.py": 330,
    "tests/lab/pods/test_real_pods.py": 120,
    "tests/lab/pods/test_platform.py": 560,
    "tests/engine/test_command_plugin.py": 160,
    "tests/engine/test_proxmox_contract.py": 110,
    "tests/engine/test_language_host.py": 60,
    "tests/lab/charts/test_install.py": 80,
    "tests/lab/test_first_site.py": 60,
}
"""Roughly what a file takes beside four others on a machine with two cores; one that is not here takes less than a minute."""


def note_rings(items: Iterable[pytest.Item]) -> None:
    """Has each test's reports name its ring; a report's keywords are no marks alone, but names of directories too."""
    for item in items:
        item.user_properties.append(("ring", ring_of(item)))


def longest_first(items: list[pytest.Item], root: Path) -> None:
    """Sorts tests by the recorded time of their file; tests of one file stay in their order, and together."""
    items.sort(key=lambda item: -SECONDS.get(item.path.relative_to(root).as_posix(), 0))


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]  # xdist is published without types
    """Hands files out in the order of the collection, each to the process that is free first.

    The base class gives a process its next file while two tests of the last one wait; one of a campus's tests may take
    minutes, in which another process would be free. One test must wait: a test's fixtures end by what comes after it.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", 1)[0]

    def _reschedule(self, node: Any) -> None:
        if node.shutting_down or not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


def ring_of(item: pytest.Item) -> str:
    """The ring of a test."""
    marks = {mark.name for mark in item.iter_markers()}
    return "lab" if "lab" in marks else "engine" if "engine" in marks else "units"


@dataclass(frozen=True)
class Took:
    """What the tests of one ring took.

    Attributes:
        ring: Its name.
        passed: How many tests passed.
        failed: How many failed, in a fixture or in themselves.
        skipped: How many were skipped.
        work: Seconds in its tests and their fixtures, over all processes.
        clock: Seconds from the start of its first test to the end of its last one.
    """

    ring: str
    passed: int
    failed: int
    skipped: int
    work: float
    clock: float


def measure(reports: Iterable[pytest.TestReport]) -> list[Took]:
    """Sums reports of tests up by ring; a ring without tests is left out."""
    rings: dict[str, list[pytest.TestReport]] = {}
    for report in reports:
        rings.setdefault(str(dict(report.user_properties).get("ring", LOST)), []).append(report)
    return [
        Took(
            ring=ring,
            passed=sum(one.passed and one.when == "call" for one in rings[ring]),
            failed=len({one.nodeid for one in rings[ring] if one.failed}),
            skipped=sum(one.skipped for one in rings[ring]),
            work=sum(one.duration for one in rings[ring]),
            clock=max(one.stop for one in rings[ring]) - min(one.start for one in rings[ring]),
        )
        for ring in (*RINGS, LOST)
        if ring in rings
    ]


def span(seconds: float) -> str:
    """A time as people read it."""
    return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE):2} s" if seconds >= MINUTE else f"{seconds:.1f} s"


def table(rings: Iterable[Took]) -> list[str]:
    """The lines that say what each ring took."""
    row = "{:8}{:>8}{:>8}{:>9}{:>16}{:>18}"
    head = row.format("ring", "passed", "failed", "skipped", "in its tests", "first to last")
    return [
        head,
        *(row.format(one.ring, one.passed, one.failed, one.skipped, span(one.work), span(one.clock)) for one in rings),
    ]
