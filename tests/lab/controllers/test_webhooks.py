"""A webhook is called where its server runs, and only there."""

from lab.controllers.snapshot_cache import IMAGES, ClusterCache, Object
from lab.controllers.webhooks import decide
from tests.lab.controllers.objects import after, cache, thing

HAVE = thing("ConfigMap", IMAGES, "kube-system", data={"images": "lab/kueue:v1"})


def server(name: str, image: str) -> tuple[Object, ...]:
    """A Deployment, its Service, and a webhook that leads there."""
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"image": image}]}}
    hook = {"name": f"{name}.example", "clientConfig": {"service": {"name": name, "namespace": name}}}
    return (
        thing("Deployment", name, name, spec={"template": pod}),
        thing("Service", name, name, spec={"selector": {"app": name}}),
        thing("ValidatingWebhookConfiguration", name, webhooks=[hook]),
    )


def called(cluster: ClusterCache, name: str) -> bool:
    [hook] = (cluster.get("ValidatingWebhookConfiguration", name) or {})["webhooks"]
    return hook.get("matchConditions") is None


def test_a_webhook_of_a_simulated_pod_is_never_called() -> None:
    cluster = cache(HAVE, *server("kserve", "kserve/kserve-controller:v0.20.0"), *server("kueue", "lab/kueue:v1"))
    after(cluster, list(decide(cluster)))

    assert not called(cluster, "kserve")
    assert called(cluster, "kueue")
    assert list(decide(cluster)) == []


def test_a_webhook_whose_server_is_not_there_yet_is_left_alone() -> None:
    """It may become a real one; and a server outside the cluster is none of the lab's."""
    _, service, configuration = server("kserve", "kserve/kserve-controller:v0.20.0")

    assert list(decide(cache(HAVE, configuration))) == []
    assert list(decide(cache(HAVE, service, configuration))) == []


def test_where_no_pod_is_real_nothing_is_decided() -> None:
    assert list(decide(cache(*server("kserve", "kserve/kserve-controller:v0.20.0")))) == []
