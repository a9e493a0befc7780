"""The parts of Kubeflow that stand on their own: their order and the values that make them stand."""

import pytest

from components.workspaces import kubeflow
from tests.support.layers import RELEASE, layers_graph
from tests.support.mocks import Graph
from tests.support.sites import site


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


def test_training_pipelines_and_serving_do_not_wait_for_each_other(graph: Graph) -> None:
    trainer, serving = graph.one(RELEASE, "kubeflow-trainer"), graph.one(RELEASE, "kserve-crd")

    assert trainer.urn not in graph.before(serving)
    assert serving.urn not in graph.before(trainer)


def test_training_brings_its_kinds_and_its_frameworks() -> None:
    values = kubeflow.trainer_values()

    assert values["crds"] == {"enabled": True}
    assert values["jobset"] == {"install": True}, "nobody else brings JobSet"
    assert values["runtimes"]["torchDistributed"] == {"enabled": True}


def test_pipelines_come_after_their_kinds(graph: Graph) -> None:
    directory = "kubernetes:kustomize/v2:Directory"

    assert graph.one(directory, "pipelines-kinds").urn in graph.before(graph.one(directory, "pipelines"))
