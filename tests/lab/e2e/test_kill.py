"""`up` killed with SIGKILL again and again: it finishes, and nobody has to clean up after it."""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from config.resource_names import VM_TYPE
from tests.support.project import MINUTES, Project, below

pytestmark = pytest.mark.lab

MOMENTS = (0.5, 1.5, 2, 2.5, 4, 8, 14, 10, 8, 5)
"""Seconds after the engine's start. Each run goes on from where the last was killed, so they cover VMs, K3s and charts."""
FEW = (2, 8, 14)
"""One each of the three."""
SEEDS = [int(seed) for seed in os.environ.get("LYCEUM_SEEDS", "1 2 3").split()]
KILLS = 15
"""Kills of one bring-up with a seed."""


def test_kills_leave_no_orphan_and_ask_for_nothing_by_hand(campus: Project, *, all_stages: bool) -> None:
    for moment in MOMENTS if all_stages else FEW:
        campus.kill_engine(after=moment)

    campus.lyceum("up", "dev", "--yes")

    sound(campus)


@pytest.mark.strict
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_moments_of_random_processes_leave_nothing_to_do_by_hand(campus: Project, seed: int) -> None:
    """E3. The same again: `LYCEUM_SEEDS={seed} pytest -m strict tests/lab/e2e/test_kill.py`; only the machine's pace differs."""
    campus.lyceum("destroy", "dev", "--yes-destroy", "lab")
    chance = random.Random(seed)
    story = []
    for _ in range(KILLS):
        process = campus.start("up", "dev", "--yes")
        end = time.monotonic() + chance.uniform(0.5, 25)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        victims = [process.pid, *(int(entry.name) for entry in below(process.pid))]
        # Alone the command, the engine, a plugin, the program; or all of them, as when a machine loses its power.
        chosen = victims if chance.random() < 0.4 else [chance.choice(victims)]
        story.append([name_of(pid) for pid in chosen])
        for pid in chosen:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL)
        # What is left notices, and ends; a command that lives goes on to its own end.
        process.communicate(timeout=15 * MINUTES)

    try:
        campus.lyceum("up", "dev", "--yes")
        sound(campus)
    except AssertionError as error:
        error.add_note(f"LYCEUM_SEEDS={seed}; killed were {story}")
        raise


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def sound(campus: Project) -> None:
    """Asserts what must hold after every fault: I1 to I5 of the fault matrix."""
    report = campus.status()
    assert report["healthy"], f"not everything is ready: {report}"
    vms = [resource for resource in campus.state()["resources"] if resource["type"] == VM_TYPE]
    assert all(vm["protect"] for vm in vms), "each machine is protected against deletion"
    known = {vm["inputs"]["name"] for vm in vms}
    assert set(campus.machines()) == known, "every machine in Proxmox is in the state, and the other way round"
    configs = [machine["config"] for machine in campus.machines().values()]
    for what in ("net0", "ipconfig0", "hostpci0"):
        assert unique(config[what] for config in configs if what in config), f"two machines share their {what}"
    servers = {name for name in known if name.startswith("server")}
    voters = {
        node["metadata"]["name"]
        for node in campus.objects("nodes")
        for condition in node["status"]["conditions"]
        if (condition["type"], condition["status"]) == ("EtcdIsVoter", "True")
    }
    assert voters == servers, "members of etcd are exactly the servers"
    text = campus.lyceum("up", "dev", "--yes")
    assert " created" not in text, "the run after the last must find nothing to do"


def unique(values: Any) -> bool:
    return all(count == 1 for count in Counter(map(str, values)).values())
