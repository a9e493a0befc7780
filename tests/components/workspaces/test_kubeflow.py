"""The parts of Kubeflow that stand on their own: their order and the values that make them stand."""

import pytest

from components.workspaces import kubeflow
from config.resource_names import COMMAND_TYPE
from tests.support.layers import RELEASE, layers_graph
from tests.support.mocks import Graph
from tests.support.sites import site

DIRECTORY = "kubernetes:kustomize/v2:Directory"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return layers_graph(site())


def test_serving_needs_neither_knative_nor_istio() -> None:
    """The chart's default is Knative."""
    controller = kubeflow.kserve_values(site())["kserve"]["controller"]

    assert controller["deploymentMode"] == "Standard"
    assert controller["gateway"]["disableIstioVirtualHost"] is True
    assert controller["gateway"]["ingressGateway"] == {"className": "nginx"}
    assert controller["gateway"]["domain"] == "campus.example"


@pytest.mark.parametrize(
    ("later", "earlier"), [("kserve-resources", "kserve-crd"), ("kserve-runtime-configs", "kserve-resources")]
)
def test_serving_comes_kind_by_kind(graph: Graph, later: str, earlier: str) -> None:
    assert graph.one(RELEASE, earlier).urn in graph.before(graph.one(RELEASE, later))


def test_pipelines_and_serving_do_not_wait_for_each_other(graph: Graph) -> None:
    pipelines, serving = graph.one(DIRECTORY, "pipelines"), graph.one(RELEASE, "kserve-crd")

    assert pipelines.urn not in graph.before(serving)
    assert serving.urn not in graph.before(pipelines)


def test_runtimes_come_after_the_webhook_that_checks_them_answers(graph: Graph) -> None:
    answers = graph.one(COMMAND_TYPE, "kserve-resources-webhook")

    assert answers.urn in graph.before(graph.one(RELEASE, "kserve-runtime-configs"))
    assert graph.one(RELEASE, "kserve-resources").urn in graph.before(answers)


def test_pipelines_come_after_their_kinds(graph: Graph) -> None:
    assert graph.one(DIRECTORY, "pipelines-kinds").urn in graph.before(graph.one(DIRECTORY, "pipelines"))
