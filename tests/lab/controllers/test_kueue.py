"""Queues are active when Kueue would say so."""

from lab.controllers.kueue import decide
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path
from tests.lab.controllers.objects import after, cache, running, thing

KUEUE = running("kueue-controller-manager", "kueue-system")
LOCAL = thing("LocalQueue", "team", "team-a", spec={"clusterQueue": "gpus"})


def queue(**spec: object) -> Object:
    groups = [{"coveredResources": ["cpu"], "flavors": [{"name": "a100", "resources": []}]}]
    return thing("ClusterQueue", "gpus", spec={"resourceGroups": groups, **spec})


def verdicts(cluster: ClusterCache) -> tuple[tuple[str, str], tuple[str, str]]:
    after(cluster, list(decide(cluster)))
    found = (cluster.get("ClusterQueue", "gpus"), cluster.get("LocalQueue", "team", "team-a"))
    first, second = (get_path(item or {}, "status", "conditions")[0] for item in found)
    return (first["status"], first["reason"]), (second["status"], second["reason"])


def test_a_queue_is_active_when_its_flavors_exist() -> None:
    cluster = cache(KUEUE, queue(), LOCAL, thing("ResourceFlavor", "a100"))
    assert verdicts(cluster) == (("True", "Ready"), ("True", "Ready"))
    assert list(decide(cluster)) == [], "a settled queue is left alone"


def test_a_missing_flavor_makes_the_queue_and_its_local_queues_inactive() -> None:
    assert verdicts(cache(KUEUE, queue(), LOCAL)) == (("False", "FlavorNotFound"), ("False", "ClusterQueueIsInactive"))


def test_a_stopped_queue_is_inactive() -> None:
    cluster = cache(KUEUE, queue(stopPolicy="HoldAndDrain"), LOCAL, thing("ResourceFlavor", "a100"))
    assert verdicts(cluster)[0] == ("False", "Stopped")


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    cluster = cache(KUEUE, queue(), LOCAL, thing("ResourceFlavor", "a100"))
    verdicts(cluster)
    cluster.now = cluster.now.replace(hour=13)
    assert list(decide(cluster)) == []
    cluster.objects["ResourceFlavor"].clear()
    after(cluster, list(decide(cluster)))
    condition = get_path(cluster.get("ClusterQueue", "gpus") or {}, "status", "conditions")[0]
    assert condition["lastTransitionTime"] == "2026-11-22T13:00:00Z"
