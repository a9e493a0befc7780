"""From two workers to four to eight to forty and back to four. A release's proof: it takes minutes and four gigabytes."""

import pytest

from tests.lab.life import canary
from tests.lab.life.conftest import edit_site
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.strict]

TWO = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
FOUR = (*TWO, "gpu-3", "gpu-4")
KILLED_AT = ("cpu-7-vm creating", "cpu-30-vm created", "cpu-20-k3s created")
"""What the growth to forty says when it is killed."""


def with_cpu_workers(campus: Project, count: int) -> tuple[str, ...]:
    """Writes so many further workers without GPUs into the site's file; returns all node names."""
    names = [f"cpu-{number}" for number in range(1, count + 1)]
    with edit_site(campus) as site:
        site["shapes"].pop("cpu", None)
        if count:
            site["shapes"]["cpu"] = {"cores": 2, "memory": "4 GiB", "disk": "10 GiB"}
        site["nodes"] = [
            group for group in site["nodes"] if group["name"] != "cpu" and not group["name"].startswith("cpu-")
        ]
        site["nodes"] += [
            {
                "name": name,
                "role": "worker",
                "host": f"pve{number % 2 + 1}",
                "shape": "cpu",
                "gpus": [],
                "address": f"10.21.2.{number}",
            }
            for number, name in enumerate(names, start=1)
        ]
    return (*FOUR, *names)


def test_two_become_four_become_eight_become_forty_and_four_again(campus: Project) -> None:
    """The growth to forty is killed with all it started, as when the operators' machine loses its power; once only the engine."""
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
    canary.assert_consistent(campus, *TWO)
    grown(campus, FOUR, "--stage", "alpha2")
    grown(campus, with_cpu_workers(campus, 4))

    names = with_cpu_workers(campus, 36)
    killed = [campus.killed_at(moment, "up", "dev", "--yes") for moment in KILLED_AT]
    assert any(killed), f"none of {KILLED_AT} was said"
    campus.kill_engine(after=5)
    grown(campus, names)
    assert " created" not in campus.lyceum("up", "dev", "--yes"), "the run after the last must find nothing to do"

    with_cpu_workers(campus, 0)
    campus.lyceum("up", "dev", "--yes", *(word for name in names[len(FOUR) :] for word in ("--remove", name)))
    canary.assert_consistent(campus, *FOUR)
    canary.assert_running(campus)


def grown(campus: Project, names: tuple[str, ...], *words: str) -> None:
    """Brings in new nodes, and asserts that nothing that exists is touched."""
    text = campus.lyceum("up", "dev", "--yes", *words)
    assert " replaced" not in text, "growing must not touch what exists"
    canary.assert_consistent(campus, *names)
    canary.assert_running(campus)
