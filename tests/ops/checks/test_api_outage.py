"""Why the API does not answer: which of several signs is the reason (fault matrix Q1, Q5)."""

from types import SimpleNamespace
from typing import Any

import pytest

from ops.checks import api_outage, api_vip
from ops.clients import etcd
from tests.support.sites import site

SILENT = "K3s does not answer on 10.9.0.31"
FULL = "etcd is full"
TWICE = "the API address is answered by 2 machines at once"


def test_two_of_three_servers_down_is_a_lost_majority_and_names_them_and_the_ways_out() -> None:
    reported = api_outage.quorum_problem(
        "prod", {"server-1": "", "server-2": "switched off", "server-3": "its VM was deleted"}
    )

    assert reported.startswith(
        "2 of 3 servers are down (server-2: switched off, server-3: its VM was deleted): etcd has no quorum"
    )
    assert "Nothing was changed. Switch them on in Proxmox" in reported
    assert "./lyceum restore prod --dry-run" in reported


def test_one_of_three_servers_down_is_none() -> None:
    assert api_outage.quorum_problem("prod", {"server-1": "", "server-2": "", "server-3": "switched off"}) == ""


def test_a_cluster_that_never_was_has_no_majority_to_lose() -> None:
    assert api_outage.quorum_problem("prod", {}) == ""


@pytest.fixture
def campus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says the reason where so many of three servers are off, so many silent, and etcd or the address are as given."""
    servers = {node.name: (node, node.name) for node in site().machines if node.name.startswith("server")}

    def reason(off: int, silent: int, full: str = "", twice: str = "") -> str:
        names = list(servers)
        monkeypatch.setattr(api_outage, "find_joined_servers", lambda _: servers)
        monkeypatch.setattr(
            api_outage, "k3s_problem", lambda node: SILENT if node.name in names[-silent:] and silent else ""
        )
        monkeypatch.setattr(
            api_outage, "vm_problem", lambda _, vm: "switched off" if vm in names[-off:] and off else ""
        )
        monkeypatch.setattr(etcd, "find_problem", lambda _: full)
        monkeypatch.setattr(api_vip, "find_problem", lambda _: twice)
        return api_outage.explain_outage(SimpleNamespace(stack=SimpleNamespace(name="prod")))  # type: ignore[arg-type]

    return reason


def test_a_server_that_does_not_answer_for_want_of_the_others_is_not_counted_with_them(campus: Any) -> None:
    """Without a majority K3s restarts again and again on the server that is left, and answers only at times."""
    assert campus(off=2, silent=3) == campus(off=2, silent=2)
    assert campus(off=2, silent=3).startswith(
        "2 of 3 servers are down (server-2: switched off, server-3: switched off)"
    )


def test_servers_that_run_and_are_silent_may_have_a_full_etcd(campus: Any) -> None:
    """With a full etcd K3s restarts again and again too, and a restore would be the wrong remedy."""
    assert campus(off=0, silent=3, full=FULL) == FULL
    assert campus(off=1, silent=3, full=FULL) == FULL


def test_servers_that_run_and_are_silent_without_a_reason_are_reported_as_such(campus: Any) -> None:
    assert campus(off=0, silent=2).startswith(f"2 of 3 servers are down (server-2: {SILENT}, server-3: {SILENT})")


def test_servers_that_all_answer_leave_the_address(campus: Any) -> None:
    assert campus(off=0, silent=0, twice=TWICE) == TWICE
    assert campus(off=0, silent=0) == ""
