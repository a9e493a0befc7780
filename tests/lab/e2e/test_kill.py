"""`up` killed with SIGKILL at ten moments and run again: it finishes, and nobody has to clean up after it."""

import pytest

from ops.settle import VM
from tests.support.project import Project

pytestmark = pytest.mark.lab

MOMENTS = (0.5, 1.5, 2, 2.5, 4, 8, 14, 10, 8, 5)
"""Seconds after the engine's start. Each run goes on from where the last was killed, so they cover VMs, K3s and charts."""


def test_ten_kills_leave_no_orphan_and_ask_for_nothing_by_hand(campus: Project) -> None:
    for moment in MOMENTS:
        campus.kill_engine(after=moment)

    campus.lyceum("up", "dev", "--yes")

    report = campus.status()
    assert report["healthy"], f"not everything is ready: {report}"
    known = {resource["inputs"]["name"] for resource in campus.state()["resources"] if resource["type"] == VM}
    assert set(campus.machines()) == known, "every machine in Proxmox is in the state, and the other way round"
    text = campus.lyceum("up", "dev", "--yes")
    assert " created" not in text, "the run after the last must find nothing to do"
