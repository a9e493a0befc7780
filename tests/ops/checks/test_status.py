"""What `lyceum status` says of nodes that are silent, servers that are down, and an API address in two places."""

import ast
from ipaddress import IPv4Address

from ops.checks import api_vip
from ops.checks.status import node_state
from tests.ops.objects import node
from tests.support.sites import site

API = IPv4Address("10.9.0.30")


def test_a_node_that_is_silent_is_shown_with_since_when() -> None:
    """N1: it stays listed, and its machine stays; whether it is to be replaced, people decide."""
    silent = node("gpu-1", ready=False)
    silent["status"]["conditions"][0]["lastTransitionTime"] = "2026-11-22T06:00:00Z"

    assert node_state(silent).since == "2026-11-22T06:00:00Z"
    assert node_state(node("gpu-2")).since == ""


def test_two_machines_at_the_api_address_are_told_by_mac_and_name() -> None:
    """V2."""
    machines = api_vip.macs(site().machines)
    ours = str(site().machines[0].mac)
    told = api_vip.told(API, [ours, "aa:bb:cc:00:11:22"], machines)

    assert (
        f"10.9.0.30 is answered by 2 machines at once: {ours} (server-1), aa:bb:cc:00:11:22 (none of our machines)"
        in told
    )
    assert "ip addr del 10.9.0.30/32" in told


def test_one_machine_at_the_api_address_is_as_it_should_be() -> None:
    assert api_vip.told(API, ["aa:bb:cc:00:11:22"], {}) == ""


def test_the_question_that_nodes_ask_is_a_program() -> None:
    ast.parse(api_vip.ARP)
