"""What lab tests share: one control plane on loopback, and the operators' stand-ins working on it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest

from lab.contracts import LabSpec
from lab.controllers import run
from tests.support.controlplane import ControlPlane


@pytest.fixture(scope="session")
def spec() -> LabSpec:
    """A campus without machines."""
    return LabSpec(
        name="test",
        cidr=IPv4Network("10.9.0.0/24"),
        gateway=IPv4Address("10.9.0.1"),
        nodes=(),
        mirror=IPv4Address("10.9.0.2"),
        token_user="lyceum@pve!lab",
        pool="lab",
        mappings=(),
    )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, spec: LabSpec) -> Iterator[ControlPlane]:
    """A control plane with two nodes and every stand-in at work; tests keep to namespaces of their own."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        for name in ("worker-1", "worker-2"):
            plane.node(name)
        with working(spec, plane.kubeconfig.read_text):
            yield plane


@contextmanager
def working(spec: LabSpec, kubeconfig: Callable[[], str]) -> Iterator[None]:
    """Lets the stand-ins work in a thread of their own."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(run(spec, kubeconfig))

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=10)
        assert not thread.is_alive(), "the stand-ins must end when they are cancelled"
