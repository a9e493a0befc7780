"""What lab tests share: one control plane on loopback, and the operators' stand-ins working on it."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from lab.contracts import LabSpec
from tests.support.controlplane import ControlPlane
from tests.support.stand_ins import working


@pytest.fixture(scope="session")
def spec() -> LabSpec:
    """A campus without machines."""
    return LabSpec(
        name="test",
        cidr=IPv4Network("10.9.0.0/24"),
        gateway=IPv4Address("10.9.0.1"),
        nodes=(),
        mirror=IPv4Address("10.9.0.2"),
    )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, spec: LabSpec) -> Iterator[ControlPlane]:
    """A control plane with two nodes and every stand-in at work; tests keep to namespaces of their own."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        for name in ("worker-1", "worker-2"):
            plane.node(name)
        with working(spec, plane.kubeconfig.read_text):
            yield plane
