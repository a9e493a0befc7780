"""From four workers to eight to forty and back to four. A release's proof: it takes minutes and four gigabytes."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.lab.life import canary
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.strict]

FOUR = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2", "gpu-3", "gpu-4")


def with_cpu_workers(campus: Project, count: int) -> tuple[str, ...]:
    """Writes so many further workers without GPUs into the site's file; returns all node names."""
    file = campus.path / "config" / "sites" / "lab.yaml"
    yaml = YAML()
    site: Any = yaml.load(file)
    site["shapes"].pop("cpu", None)
    if count:
        site["shapes"]["cpu"] = {"cores": 1, "memory": "1 GiB", "disk": "10 GiB"}
    site["nodes"] = [
        group for group in site["nodes"] if group["name"] != "cpu" and not group["name"].startswith("cpu-")
    ]
    names = [f"cpu-{number}" for number in range(1, count + 1)]
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
    yaml.dump(site, file)
    return (*FOUR, *names)


def test_four_become_eight_become_forty_and_four_again(campus: Project) -> None:
    campus.lyceum("up", "dev", "--stage", "alpha2", "--yes")
    canary.settle_in(campus)
    for count in (4, 36):
        names = with_cpu_workers(campus, count)
        text = campus.lyceum("up", "dev", "--yes")
        assert " replaced" not in text, "growing must not touch what exists"
        canary.whole(campus, *names)
        canary.sings(campus)

    words = [word for number in range(1, 37) for word in ("--remove", f"cpu-{number}")]
    with_cpu_workers(campus, 0)
    campus.lyceum("up", "dev", "--yes", *words)

    canary.whole(campus, *FOUR)
    canary.sings(campus)
