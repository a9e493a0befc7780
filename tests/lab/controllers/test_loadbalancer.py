"""Services get addresses as MetalLB would give them."""

from typing import Any

import pytest

from lab.controllers.changes import Change
from lab.controllers.loadbalancer import decide
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path
from tests.lab.controllers.objects import after, cache, notes, running, thing

METALLB = running("metallb-controller", "metallb-system", name="metallb", component="controller")


def pool(addresses: str, name: str = "campus", **spec: Any) -> Object:
    return thing("IPAddressPool", name, "metallb-system", spec={"addresses": [addresses], **spec})


def service(name: str = "web", annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    metadata = {"annotations": annotations or {}}
    return thing("Service", name, "shop", metadata=metadata, spec={"type": "LoadBalancer", **spec})


def reconcile(cluster: ClusterCache) -> tuple[ClusterCache, list[Change]]:
    changes = list(decide(cluster))
    return after(cluster, changes), changes


def address(cluster: ClusterCache, name: str = "web") -> str | None:
    found = cluster.get("Service", name, "shop")
    assert found is not None
    ingress = get_path(found, "status", "loadBalancer", "ingress", default=[])
    return ingress[0]["ip"] if ingress else None


def test_a_service_gets_the_first_free_address_of_a_pool() -> None:
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.5-10.0.0.9"), service("a"), service("b")))
    assert (address(cluster, "a"), address(cluster, "b")) == ("10.0.0.5", "10.0.0.6")


def test_what_is_assigned_stays_and_is_not_decided_again() -> None:
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.5/32"), service()))
    assert list(decide(cluster)) == []


@pytest.mark.parametrize("prefix", ["metallb.io", "metallb.universe.tf"])
def test_a_service_gets_the_address_it_asks_for(prefix: str) -> None:
    asking = service(annotations={f"{prefix}/loadBalancerIPs": "10.0.0.7"})
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.5-10.0.0.9", autoAssign=False), asking))
    assert address(cluster) == "10.0.0.7", "an address that is asked for may come from a pool without autoAssign"


def test_an_address_outside_every_pool_is_refused_with_the_reason() -> None:
    asking = service(annotations={"metallb.io/loadBalancerIPs": "10.0.1.7"})
    cluster, changes = reconcile(cache(METALLB, pool("10.0.0.5-10.0.0.9"), asking))
    assert address(cluster) is None
    assert notes(changes) == [
        ("AllocationFailed", 'Failed to allocate IP for "shop/web": "10.0.1.7" is not allowed in config')
    ]


def test_an_address_in_use_is_not_given_twice() -> None:
    first, second = (service(name, annotations={"metallb.io/loadBalancerIPs": "10.0.0.7"}) for name in "ab")
    cluster, changes = reconcile(cache(METALLB, pool("10.0.0.0/24"), first, second))
    assert address(cluster, "b") is None
    assert "address also in use by shop/a" in notes(changes)[-1][1]


def test_services_that_say_so_share_an_address() -> None:
    wish = {"metallb.io/loadBalancerIPs": "10.0.0.7", "metallb.io/allow-shared-ip": "both"}
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.0/24"), service("a", wish), service("b", wish)))
    assert address(cluster, "b") == "10.0.0.7"


def test_without_a_pool_the_service_waits_and_is_told_why() -> None:
    cluster, changes = reconcile(cache(METALLB, service()))
    assert address(cluster) is None
    assert notes(changes) == [("AllocationFailed", 'Failed to allocate IP for "shop/web": no available IPs')]


def test_what_cannot_be_understood_is_said_and_does_not_stop_the_others() -> None:
    broken = service("a", annotations={"metallb.io/loadBalancerIPs": "10.0.0"})
    cluster, changes = reconcile(cache(METALLB, pool("10.0.0.5/32"), broken, service("b")))
    assert notes(changes)[0][0] == "NotUnderstood"
    assert address(cluster, "b") == "10.0.0.5"


def test_a_pool_without_auto_assign_serves_only_those_who_ask() -> None:
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.0/24", autoAssign=False), service()))
    assert address(cluster) is None


def test_a_pool_may_be_kept_for_some_namespaces() -> None:
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.0/24", serviceAllocation={"namespaces": ["other"]}), service()))
    assert address(cluster) is None


def test_buggy_addresses_are_avoided_when_asked() -> None:
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.0/24", avoidBuggyIPs=True), service()))
    assert address(cluster) == "10.0.0.1"


def test_nothing_is_assigned_while_the_controller_does_not_run() -> None:
    stopped = METALLB | {"status": {}}
    assert list(decide(cache(stopped, pool("10.0.0.0/24"), service()))) == []


def test_another_class_is_another_controllers_business() -> None:
    assert list(decide(cache(METALLB, pool("10.0.0.0/24"), service(loadBalancerClass="tailscale")))) == []


def test_an_address_is_said_to_be_announced_only_with_an_advertisement() -> None:
    cluster, _ = reconcile(cache(METALLB, pool("10.0.0.0/24"), service()))
    cluster.objects["L2Advertisement"] = {
        ("metallb-system", "campus"): thing("L2Advertisement", "campus", "metallb-system")
    }
    assert notes(list(decide(cluster))) == [("nodeAssigned", 'announcing with protocol "layer2"')]
