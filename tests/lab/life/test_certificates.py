"""Certificates that end soon, and those that have ended. Told in order; a canary must outlive it. Fault matrix: C1."""

import pytest

from tests.lab.life import canary
from tests.lab.life.conftest import change_site
from tests.support import api_gap
from tests.support.project import Project

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("canary_survives")]

NODES = ("server-1", "server-2", "server-3", "gpu-1", "gpu-2")
FAILED = 1


def test_certificates_that_end_soon_are_reported_and_renewed_one_server_at_a_time(campus: Project) -> None:
    campus.lyceum("up", "dev", "--yes")
    canary.deploy(campus)
    for name in NODES:
        campus.lyceum("lab", "faults", "age-certificates", name, "--days", "246")
    # The first server's script shows the aged certificate of the administrator to the stack's state.
    change_site(campus, {"k3s": {"kube-vip": "v1.2.4"}})
    campus.lyceum("up", "dev", "--yes")
    text = campus.lyceum("certificates", "dev", code=FAILED)
    assert "6 certificate(s) expire within 120 days: ./lyceum certificates dev --renew" in text
    with api_gap.watched(campus) as api:
        campus.lyceum("certificates", "dev", "--renew")

    campus.lyceum("certificates", "dev")
    canary.assert_consistent(campus, *NODES)
    assert api["gap"] < api_gap.PAUSE


def test_certificates_that_have_ended_are_reported_and_brought_back(campus: Project) -> None:
    """A year in which nobody looked: no server trusts another, and nobody is let in."""
    for name in NODES:
        campus.lyceum("lab", "faults", "age-certificates", name, "--days", "366")
    canary.wait_until(lambda: "does not answer" in campus.lyceum("status", "dev", code=FAILED), "the API is of no use")
    text = campus.lyceum("certificates", "dev", code=FAILED)
    assert "; expired: " in text
    assert "./lyceum certificates dev --renew" in text

    renew = ("certificates", "dev", "--renew")
    campus.killed_at_each(("restart K3s on", "server-1-k3s"), *renew)
    campus.lyceum(*renew)

    campus.lyceum("certificates", "dev")
    canary.wait_until(lambda: campus.status()["healthy"], "everything is well again")
    canary.assert_consistent(campus, *NODES)
