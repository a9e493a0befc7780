"""The hub's metrics reach Prometheus: a monitor, a token with the right scope, and a way through the network policy (R29)."""

from components.workspaces import jupyterhub
from tests.support.layers import RELEASE, layers_graph
from tests.support.sites import Settings, site

SECRETS = {"hub-password": "a-password", "oidc-client-secret": "another"}
WATCHED: Settings = {"platform": {"monitoring": {"enabled": True}}}
UNWATCHED: Settings = {"platform": {"monitoring": {"enabled": False}}}
MONITOR = "kubernetes:monitoring.coreos.com/v1:ServiceMonitor"


def test_the_monitor_shows_the_token_of_a_service_that_may_read_metrics() -> None:
    """JupyterHub answers 403 without the scope; the chart writes each service's token into its Secret under this key."""
    hub = jupyterhub.values(site(WATCHED), site(WATCHED).machines, SECRETS, {})["hub"]
    [endpoint] = layers_graph(site(WATCHED)).one(MONITOR, "servicemonitor-hub").inputs["spec"]["endpoints"]
    [service] = hub["services"]

    assert endpoint["path"] == "/hub/metrics"
    assert endpoint["authorization"]["credentials"] == {"name": "hub", "key": f"hub.services.{service}.apiToken"}
    [role] = [role for role in hub["loadRoles"].values() if service in role["services"]]
    assert role["scopes"] == ["read:metrics"], "and nothing else"


def test_the_hubs_network_policy_lets_prometheus_in() -> None:
    hub = jupyterhub.values(site(WATCHED), site(WATCHED).machines, SECRETS, {})["hub"]
    [rule] = hub["networkPolicy"]["ingress"]
    [source] = rule["from"]

    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    assert rule["ports"] == [{"port": 8081}]


def test_the_monitor_goes_with_monitoring() -> None:
    graph = layers_graph(site(UNWATCHED))

    assert graph.of_type(MONITOR) == []
    assert "services" not in graph.one(RELEASE, "jupyterhub").inputs["values"]["hub"]
