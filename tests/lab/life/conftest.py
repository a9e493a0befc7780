"""A campus for each story of the life of nodes, small above Kubernetes: storage only, so that minutes go into nodes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.lab.life import canary
from tests.support.project import Project

OFF = {"enabled": False}
NEW_YEAR = {"schedule": "0 0 1 1 *"}
"""Snapshots that a story did not ask for would lie beside those that it counts."""
PLATFORM = ("metallb", "certificates", "ingress", "gpu-operator", "queues", "monitoring")


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose campus has K3s and Ceph, and a canary on it."""
    project = Project(tmp_path_factory.mktemp("life") / "lyceum")
    change_site(
        project,
        {"platform": dict.fromkeys(PLATFORM, OFF), "workspaces": WORKSPACES, "k3s": {"snapshots": NEW_YEAR}},
    )
    with project:
        yield project


@pytest.fixture
def canary_survives(campus: Project) -> Iterator[None]:
    """For stories in which work must go on whatever happens."""
    yield
    canary.assert_running(campus)


WORKSPACES = {"jupyterhub": OFF, "kubeflow": {"trainer": OFF, "pipelines": OFF, "kserve": OFF}}


@contextmanager
def edit_site(project: Project) -> Iterator[Any]:
    """Gives the project's lab site as its file has it, and writes what was made of it."""
    file = project.path / "config" / "sites" / "lab.yaml"
    yaml = YAML()
    site = yaml.load(file)
    yield site
    yaml.dump(site, file)


def change_site(project: Project, changes: dict[str, dict[str, object]]) -> None:
    """Merges settings into sections of the project's lab site."""
    with edit_site(project) as site:
        for section, values in changes.items():
            site[section] = {**site.get(section, {}), **values}
