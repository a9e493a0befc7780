"""The Prometheus operator's StatefulSets."""

from lab.controllers.prometheus import decide
from lab.controllers.snapshot_cache import get_path
from tests.lab.controllers.objects import after, cache, running, thing

OPERATOR = running("kps-operator", "monitoring", component="prometheus-operator")


def test_an_instance_gets_a_stateful_set_with_its_storage_and_becomes_available() -> None:
    claim = {"spec": {"resources": {"requests": {"storage": "50Gi"}}}}
    instance = thing(
        "Prometheus", "main", "monitoring", spec={"replicas": 2, "storage": {"volumeClaimTemplate": claim}}, status={}
    )
    cluster = cache(OPERATOR, instance)
    after(cluster, list(decide(cluster)))
    found = cluster.get("StatefulSet", "prometheus-main", "monitoring")
    assert found is not None
    assert (found["spec"]["replicas"], found["spec"]["serviceName"]) == (2, "prometheus-operated")
    assert found["spec"]["volumeClaimTemplates"][0]["spec"] == claim["spec"]
    assert found["metadata"]["ownerReferences"][0]["uid"] == "uid-main", "it must end with the Prometheus"
    after(cluster, list(decide(cluster)))
    (condition,) = get_path(cluster.get("Prometheus", "main", "monitoring") or {}, "status", "conditions")
    assert (condition["type"], condition["status"]) == ("Available", "True")
    assert list(decide(cluster)) == []


def test_a_changed_spec_changes_the_stateful_set() -> None:
    cluster = cache(OPERATOR, thing("Alertmanager", "main", "monitoring", spec={"replicas": 1}))
    after(cluster, list(decide(cluster)))
    cluster.objects["Alertmanager"]["monitoring", "main"]["spec"]["replicas"] = 3
    after(cluster, list(decide(cluster)))
    found = cluster.get("StatefulSet", "alertmanager-main", "monitoring")
    assert get_path(found or {}, "spec", "replicas") == 3


def test_nothing_is_made_while_the_operator_does_not_run() -> None:
    assert list(decide(cache(OPERATOR | {"status": {}}, thing("Prometheus", "main", "monitoring", spec={})))) == []
