"""The parts of Kubeflow that stand on their own: their order and the values that make them stand."""

from typing import Any

import pytest

from components.workspaces import kubeflow, training
from config.resource_names import COMMAND_TYPE
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


def test_training_brings_its_kinds_and_jobset() -> None:
    values = kubeflow.trainer_values()

    assert values["crds"] == {"enabled": True}
    assert values["jobset"] == {"install": True}, "nobody else brings JobSet"


def test_the_runtimes_are_objects_of_the_program_and_no_hook_makes_them(graph: Graph) -> None:
    """Trainer's hook Job runs as root and fetches kubectl from the internet: refused, and on a closed campus in vain."""
    kind = "kubernetes:trainer.kubeflow.org/v1alpha1:ClusterTrainingRuntime"
    made = {one.inputs["metadata"]["name"]: one.inputs for one in graph.of_type(kind)}

    assert set(made) == {"torch-distributed", "deepspeed-distributed"}
    assert made["torch-distributed"]["metadata"]["labels"] == {"trainer.kubeflow.org/framework": "torch"}
    assert "runtimes" not in kubeflow.trainer_values()


def pods(framework: str) -> list[dict[str, Any]]:
    jobs = training.RUNTIMES[framework]["template"]["spec"]["replicatedJobs"]
    return [job["template"]["spec"]["template"]["spec"] for job in jobs]


@pytest.mark.parametrize("framework", list(training.RUNTIMES))
def test_pods_of_a_training_may_start_where_people_may(framework: str) -> None:
    """`default` is `restricted`; tests/lab/test_admission.py asks an API server."""
    for pod in pods(framework):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert [one["securityContext"]["capabilities"] for one in pod["containers"]] == [{"drop": ["ALL"]}]


@pytest.mark.parametrize(
    ("release", "later"),
    [("kubeflow-trainer", "clustertrainingruntime-torch-distributed"), ("kserve-resources", "kserve-runtime-configs")],
)
def test_runtimes_come_after_the_webhook_that_checks_them_answers(graph: Graph, release: str, later: str) -> None:
    [runtime] = [one for one in graph.by_urn.values() if one.name == later]
    answers = graph.one(COMMAND_TYPE, f"{release}-webhook")

    assert answers.urn in graph.before(runtime)
    assert graph.one(RELEASE, release).urn in graph.before(answers)


def test_pipelines_come_after_their_kinds(graph: Graph) -> None:
    directory = "kubernetes:kustomize/v2:Directory"

    assert graph.one(directory, "pipelines-kinds").urn in graph.before(graph.one(directory, "pipelines"))
