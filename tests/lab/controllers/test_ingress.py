"""Ingresses show the address of the controller that serves their class."""

from lab.controllers.ingress import decide
from lab.controllers.snapshot_cache import Object, get_path
from tests.lab.controllers.objects import after, cache, running, thing

NGINX = running("nginx-controller", "ingress-nginx", kind="DaemonSet", name="ingress-nginx", component="controller")
SERVICE = thing(
    "Service",
    "nginx-controller",
    "ingress-nginx",
    metadata={"labels": {"app.kubernetes.io/name": "ingress-nginx"}},
    status={"loadBalancer": {"ingress": [{"ip": "10.0.0.7"}]}},
)


def class_(*, default: bool = False) -> Object:
    annotations = {"ingressclass.kubernetes.io/is-default-class": str(default).lower()}
    return thing(
        "IngressClass", "nginx", metadata={"annotations": annotations}, spec={"controller": "k8s.io/ingress-nginx"}
    )


def shown(*objects: Object) -> object:
    cluster = cache(*objects)
    found = after(cluster, list(decide(cluster))).get("Ingress", "hub", "jhub")
    assert found is not None
    return get_path(found, "status", "loadBalancer", "ingress")


def test_an_ingress_shows_its_controllers_address() -> None:
    hub = thing("Ingress", "hub", "jhub", spec={"ingressClassName": "nginx"})
    assert shown(NGINX, SERVICE, class_(), hub) == [{"ip": "10.0.0.7"}]


def test_an_ingress_without_a_class_belongs_to_the_default_class() -> None:
    hub = thing("Ingress", "hub", "jhub", spec={})
    assert shown(NGINX, SERVICE, class_(default=True), hub) == [{"ip": "10.0.0.7"}]
    assert shown(NGINX, SERVICE, class_(), hub) is None


def test_nothing_is_shown_while_no_controller_runs() -> None:
    hub = thing("Ingress", "hub", "jhub", spec={"ingressClassName": "nginx"})
    assert shown(SERVICE, class_(), hub) is None
