"""What `lyceum status` says of nodes that are silent, servers that are down, and an API address in two places."""

import ast
import base64
import gzip
import json
from ipaddress import IPv4Address

from config.layers import installed_releases
from ops.checks import api_vip
from ops.checks.status import chart_of, node_state, release_states
from ops.clients.kubernetes import Object
from tests.ops.objects import node
from tests.support.sites import site

API = IPv4Address("10.9.0.30")


def test_a_node_that_is_silent_is_shown_with_since_when() -> None:
    """N1: it stays listed, and its machine stays; whether it is to be replaced, people decide."""
    silent = node("gpu-1", ready=False)
    silent["status"]["conditions"][0]["lastTransitionTime"] = "2026-11-22T06:00:00Z"

    assert node_state(silent).since == "2026-11-22T06:00:00Z"
    assert node_state(node("gpu-2")).since == ""


def test_two_machines_at_the_api_address_are_reported_by_mac_and_name() -> None:
    """V2."""
    machines = api_vip.names_by_mac(site().machines)
    ours = str(site().machines[0].mac)
    reported = api_vip.address_conflict(API, [ours, "aa:bb:cc:00:11:22"], machines)

    assert (
        f"10.9.0.30 is answered by 2 machines at once: {ours} (server-1), aa:bb:cc:00:11:22 (not one of our machines)"
        in reported
    )
    assert "ip addr del 10.9.0.30/32" in reported


def test_one_machine_at_the_api_address_is_as_it_should_be() -> None:
    assert api_vip.address_conflict(API, ["aa:bb:cc:00:11:22"], {}) == ""


def test_the_question_that_nodes_ask_is_a_program() -> None:
    ast.parse(api_vip.ARP)


def helm_secret(name: str, version: str, status: str = "deployed") -> Object:
    """The Secret in which Helm keeps a release."""
    release = {"name": name, "chart": {"metadata": {"name": name, "version": version}}}
    data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()
    return {"metadata": {"labels": {"name": name, "status": status}}, "data": {"release": data}}


def test_the_chart_of_a_release_is_its_name_and_version_not_the_state_of_the_release() -> None:
    installed = {("metallb-system", "metallb"): helm_secret("metallb", "0.16.1")}
    [found] = [one for one in release_states(site(), installed, {}) if one.name == "metallb"]

    assert (found.chart, found.ready, found.waiting) == ("metallb-0.16.1", True, "")


def test_a_release_that_helm_has_not_finished_or_whose_pods_are_missing_is_not_ready() -> None:
    key = ("metallb-system", "metallb")
    failed = release_states(site(), {key: helm_secret("metallb", "0.16.1", "failed")}, {key: ["DaemonSet speaker 1/3"]})

    [found] = [one for one in failed if one.name == "metallb"]
    assert (found.ready, found.waiting) == (False, "failed; DaemonSet speaker 1/3")


def test_a_release_that_the_site_needs_and_that_is_not_there_is_not_ready() -> None:
    missing = {one.name for one in release_states(site(), {}, {}) if one.waiting == "not installed" and not one.ready}

    assert missing == {release.chart for _, release in installed_releases(site())}


def test_a_release_of_somebody_else_is_shown_too() -> None:
    [found] = [one for one in release_states(site(), {("own", "wiki"): helm_secret("wiki", "1.0.0")}, {}) if one.ready]

    assert (found.namespace, found.chart) == ("own", "wiki-1.0.0")


def test_a_secret_without_a_release_has_no_chart() -> None:
    assert chart_of({"metadata": {}}) == ""
