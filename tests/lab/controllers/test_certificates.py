"""Where cert-manager is simulated, what Lyceum waits for becomes Ready."""

from lab.controllers.certificates import decide
from lab.controllers.snapshot_cache import get_path
from tests.lab.controllers.objects import after, cache, running, thing

CERT_MANAGER = running("cert-manager", "cert-manager", name="cert-manager", component="controller")


def test_issuers_and_certificates_are_ready_while_cert_manager_runs() -> None:
    objects = (thing("ClusterIssuer", "campus", spec={}), thing("Certificate", "hub", "jupyterhub", spec={}))
    cluster = cache(CERT_MANAGER, *objects)
    after(cluster, list(decide(cluster)))

    for kind, name, namespace in (("ClusterIssuer", "campus", ""), ("Certificate", "hub", "jupyterhub")):
        [condition] = get_path(cluster.get(kind, name, namespace) or {}, "status", "conditions")
        assert (condition["type"], condition["status"]) == ("Ready", "True")
    assert list(decide(cluster)) == []
    assert list(decide(cache(*objects))) == [], "nothing decides while it does not run"
