"""Where MetalLB is simulated, a Service gets the address that Lyceum asked for, or another of the pool."""

from typing import Any

from lab.controllers.loadbalancer import decide
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path
from tests.lab.controllers.objects import after, cache, running, thing

IMAGE = "quay.io/metallb/controller:v0.16.1"
METALLB = running("metallb-controller", "metallb-system", name="metallb", component="controller")


def pool(addresses: str) -> Object:
    return thing("IPAddressPool", "campus", "metallb-system", spec={"addresses": [addresses]})


def service(name: str = "web", annotations: dict[str, str] | None = None) -> Object:
    metadata = {"annotations": annotations or {}}
    return thing("Service", name, "shop", metadata=metadata, spec={"type": "LoadBalancer"})


def decided(*objects: Object) -> ClusterCache:
    cluster = cache(*objects)
    return after(cluster, list(decide(cluster)))


def address(cluster: ClusterCache, name: str = "web") -> Any:
    ingress = get_path(cluster.get("Service", name, "shop") or {}, "status", "loadBalancer", "ingress", default=[])
    return ingress[0]["ip"] if ingress else None


def test_services_get_the_free_addresses_of_a_pool_and_keep_them() -> None:
    cluster = decided(METALLB, pool("10.0.0.5-10.0.0.9"), service("a"), service("b"))

    assert (address(cluster, "a"), address(cluster, "b")) == ("10.0.0.5", "10.0.0.6")
    assert list(decide(cluster)) == []


def test_a_service_gets_the_address_it_asks_for() -> None:
    asking = service(annotations={"metallb.io/loadBalancerIPs": "10.0.0.7"})

    assert address(decided(METALLB, pool("10.0.0.0/28"), asking)) == "10.0.0.7"


def test_an_address_outside_the_pool_is_not_given() -> None:
    asking = service(annotations={"metallb.io/loadBalancerIPs": "10.0.1.7"})

    assert address(decided(METALLB, pool("10.0.0.0/28"), asking)) is None


def test_without_metallb_nothing_is_given() -> None:
    assert address(decided(pool("10.0.0.0/28"), service())) is None


def test_where_the_lab_has_metallbs_image_the_real_program_decides() -> None:
    """Two that decide would undo each other's work."""
    images = thing("ConfigMap", "lab-images", "kube-system", data={"images": f"other:1\n{IMAGE}"})
    pod = {"template": {"spec": {"containers": [{"image": IMAGE}]}}}

    assert address(decided(METALLB | {"spec": pod}, images, pool("10.0.0.0/28"), service())) is None
    assert address(decided(METALLB | {"spec": pod}, pool("10.0.0.0/28"), service())) == "10.0.0.0"
