"""What lab tests share: one control plane on loopback, and the operators' stand-ins working on it."""

from collections.abc import Iterator

import pytest

from lab.images import Built, ensure_all
from tests.support.controlplane import ControlPlane
from tests.support.stand_ins import working


@pytest.fixture(scope="session")
def all_stages(pytestconfig: pytest.Config) -> bool:
    """Whether a command is killed at each of its stages, as before a release, or at those that no other test shows.

    Such stories go on from kill to kill, so the stages are no tests of their own that a mark could leave out.
    """
    return "not strict" not in pytestconfig.option.markexpr


@pytest.fixture(scope="session")
def real_programs() -> Built:
    """What a lab with real pods needs; the first test that asks builds what is missing, the others wait for it."""
    return ensure_all()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with two nodes and every stand-in at work; tests keep to namespaces of their own."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        for name in ("worker-1", "worker-2"):
            plane.node(name)
        with working(plane.kubeconfig.read_text):
            yield plane
