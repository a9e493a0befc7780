"""What every layer on Kubernetes has in common, and how a campus switches layers on and off."""

from typing import Any

import pytest

from config import versions
from config.layer_record import setting
from config.layers import LAYERS
from config.resource_names import COMMAND_TYPE
from config.site import Site
from tests.support.layers import NAMESPACE, RELEASE, layers_graph, releases
from tests.support.mocks import Graph
from tests.support.sites import site

OFF: dict[str, Any] = {"enabled": False}
MIRROR = "https://mirror.campus.example/charts"

SWITCHES = sorted(
    {
        switch
        for record in LAYERS
        for switch in (record.switch, *(release.switch for release in record.releases))
        if switch and hasattr(setting(site(), switch), "enabled")
    }
)
"""Settings that switch a layer or some of its charts off."""


def switched_off(switch: str) -> dict[str, Any]:
    """The changes to a site, in the words of its file."""
    changes = OFF
    for key in reversed(switch.split(".")):
        changes = {key: changes}
    return changes


def charts_of(switch: str) -> set[str]:
    """Charts that are not installed while the switch is off."""
    return {
        release.chart for record in LAYERS for release in record.releases if switch in {record.switch, release.switch}
    }


@pytest.fixture(scope="module")
def graph() -> Graph:
    return layers_graph(site())


@pytest.fixture(scope="module")
def all_releases() -> set[str]:
    """With a mirror, which has a chart for what upstream publishes none of."""
    return releases(site({"charts": MIRROR}))


def test_the_layers_keep_the_house_rules(graph: Graph) -> None:
    assert graph.orphans == []
    assert graph.unfinished == []
    assert graph.duplicates == []
    assert graph.on_default_provider("kubernetes") == []


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_layer_that_is_switched_off_takes_nothing_else_with_it(all_releases: set[str], switch: str) -> None:
    gone = charts_of(switch)

    assert gone
    assert all_releases - releases(site({"charts": MIRROR} | switched_off(switch))) == gone


def test_a_release_has_its_charts_name(graph: Graph) -> None:
    """Another name would give its Services other names, which other layers know."""
    assert [one.name for one in graph.of_type(RELEASE) if one.inputs["name"] != one.name] == []


def test_a_release_is_waited_for_and_not_for_ever(graph: Graph) -> None:
    """By Helm, or by the check of its webhook, which answers when its pods are ready."""
    checks = {one.name for one in graph.of_type(COMMAND_TYPE)}
    for one in graph.of_type(RELEASE):
        assert not one.inputs["skipAwait"] or f"{one.name}-webhook" in checks
        assert 600 <= one.inputs["timeout"] <= 1800
        assert one.request.customTimeouts.create == f"{one.inputs['timeout']}s"


def test_a_release_lives_in_a_namespace_that_a_layer_made(graph: Graph) -> None:
    made = {one.inputs["metadata"]["name"] for one in graph.of_type(NAMESPACE)}

    assert {one.inputs["namespace"] for one in graph.of_type(RELEASE)} <= made


def test_every_namespace_has_the_pod_security_level_of_its_record(graph: Graph) -> None:
    """The cluster's default is `restricted`; a layer that needs more names it in its record."""
    levels = {
        one.inputs["metadata"]["name"]: one.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for one in graph.of_type(NAMESPACE)
    }

    recorded = {namespace.name: namespace.level for record in LAYERS for namespace in record.namespaces}
    privileged = {"gpu-operator", "metallb-system", "monitoring", "nfs-csi", "rook-ceph"}
    assert levels.items() <= recorded.items()
    assert {name for name, level in recorded.items() if level == "privileged"} == privileged, "they reach into the node"
    assert levels["jupyterhub"] == "restricted", "people's code runs there"


def test_a_namespace_of_peoples_work_stays_when_its_layer_goes(graph: Graph) -> None:
    """With a namespace goes what is in it, volumes too."""
    kept = {one.name for one in graph.of_type(NAMESPACE) if one.request.retainOnDelete}

    assert kept == {"batch-namespace", "inference-namespace"}


@pytest.mark.parametrize("chart", sorted(versions.CHARTS))
def test_upstream_charts_are_pinned(chart: str) -> None:
    assert versions.CHARTS[chart].version.lstrip("v")[0].isdigit()


def chart_of(campus: Site, name: str) -> dict[str, Any]:
    inputs = layers_graph(campus).one(RELEASE, name).inputs
    return {key: inputs.get(key) for key in ("chart", "version", "repositoryOpts")}


def test_a_chart_comes_from_its_project_unless_a_mirror_is_named() -> None:
    found = chart_of(site(), "metallb")

    assert found == {
        "chart": "metallb",
        "version": versions.CHARTS["metallb"].version,
        "repositoryOpts": {"repo": "https://metallb.github.io/metallb"},
    }


def test_a_chart_has_the_version_that_the_site_holds_it_at() -> None:
    assert chart_of(site({"versions": {"metallb": "0.16.2"}}), "metallb")["version"] == "0.16.2"


def test_a_chart_in_a_registry_is_named_by_its_whole_path() -> None:
    """Helm takes no repository beside an `oci://` reference."""
    found = chart_of(site(), "kueue")

    assert (found["chart"], found["repositoryOpts"]) == ("oci://registry.k8s.io/kueue/charts/kueue", None)


@pytest.mark.parametrize("source", ["upstream", MIRROR])
def test_no_ca_file_of_helm_replaces_the_public_roots(source: str) -> None:
    """With it every public repository fails x509; the engine's bundle has both (tests/ops/engine)."""
    graph = layers_graph(site({"charts": source, "ca-file": "campus-ca.pem"}))
    named = [one.name for one in graph.of_type(RELEASE) if "caFile" in (one.inputs.get("repositoryOpts") or {})]

    assert named == []


def test_a_mirror_is_asked_for_everything() -> None:
    graph = layers_graph(site({"charts": MIRROR, "ca-file": "campus-ca.pem"}))
    sources = [one.inputs["repositoryOpts"] for one in graph.of_type(RELEASE)]

    assert [source for source in sources if source != {"repo": MIRROR}] == []


def test_a_mirror_in_a_registry_is_named_by_path_too() -> None:
    assert chart_of(site({"charts": "oci://registry.campus.example/charts"}), "metallb")["chart"] == (
        "oci://registry.campus.example/charts/metallb"
    )


def test_nothing_is_fetched_from_outside_where_a_mirror_is_named() -> None:
    """Pipelines have no chart upstream; a mirror has one."""
    mirrored, upstream = layers_graph(site({"charts": MIRROR})), layers_graph(site())
    directory = "kubernetes:kustomize/v2:Directory"

    assert mirrored.of_type(directory) == []
    assert [one.name for one in upstream.of_type(directory)] == ["pipelines", "pipelines-kinds"]
    assert mirrored.one(RELEASE, "kubeflow-pipelines").inputs["repositoryOpts"]["repo"] == MIRROR


def test_a_kustomization_is_pinned_too(graph: Graph) -> None:
    for one in graph.of_type("kubernetes:kustomize/v2:Directory"):
        assert one.inputs["directory"].endswith(f"?ref={versions.CHARTS['kubeflow-pipelines'].version}")
