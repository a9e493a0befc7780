"""The addresses of Services lead to a node that can answer."""

from typing import Any

from lab.speakers import find_routes, route_lines

NODES = [
    {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}
    for name, address in (("server-1", "10.9.0.31"), ("gpu-1", "10.9.0.41"), ("gpu-2", "10.9.0.42"))
]
REAL = ("gpu-1", "gpu-2")


def service(name: str = "ingress", *addresses: str) -> dict[str, Any]:
    given = [{"ip": address} for address in addresses]
    return {"metadata": {"namespace": "web", "name": name}, "status": {"loadBalancer": {"ingress": given}}}


def pods_on(*nodes: str, ready: bool = True, of: str = "ingress") -> dict[str, Any]:
    metadata = {"namespace": "web", "name": "x", "labels": {"kubernetes.io/service-name": of}}
    return {"metadata": metadata, "endpoints": [{"nodeName": node, "conditions": {"ready": ready}} for node in nodes]}


def test_an_address_leads_to_a_node_with_a_ready_pod() -> None:
    assert find_routes([service("ingress", "10.9.0.50")], [pods_on("gpu-2")], NODES, REAL) == {"10.9.0.50": "10.9.0.42"}


def test_a_pod_that_is_not_ready_answers_nobody() -> None:
    assert find_routes([service("ingress", "10.9.0.50")], [pods_on("gpu-2", ready=False)], NODES, REAL) == {}


def test_a_simulated_node_answers_nobody() -> None:
    assert find_routes([service("ingress", "10.9.0.50")], [pods_on("server-1")], NODES, REAL) == {}


def test_another_services_pods_do_not_count() -> None:
    slices = [pods_on("gpu-1", of="other"), pods_on("gpu-2")]

    assert find_routes([service("ingress", "10.9.0.50")], slices, NODES, REAL) == {"10.9.0.50": "10.9.0.42"}


def test_only_what_differs_is_changed() -> None:
    known = {"10.9.0.50": "10.9.0.41", "10.9.0.51": "10.9.0.41", "10.9.0.52": "10.9.0.41"}
    wanted = {"10.9.0.50": "10.9.0.42", "10.9.0.51": "10.9.0.41"}

    assert route_lines(known, wanted) == ["route replace 10.9.0.50/32 via 10.9.0.42", "route delete 10.9.0.52/32"]
