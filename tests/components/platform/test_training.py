"""Kubeflow Trainer: before the queues, with runtimes whose pods may start where people may."""

from typing import Any

import pytest
import yaml

from components.platform import queues, training, training_runtimes
from config.resource_names import COMMAND_TYPE
from tests.support.layers import RELEASE, layers_graph
from tests.support.mocks import Graph
from tests.support.sites import site

RUNTIME = "kubernetes:trainer.kubeflow.org/v1alpha1:ClusterTrainingRuntime"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return layers_graph(site())


def test_training_brings_its_kinds_and_jobset() -> None:
    assert training.VALUES["crds"] == {"enabled": True}
    assert training.VALUES["jobset"] == {"install": True}, "nobody else brings JobSet"


def test_a_trainer_that_is_installed_is_not_installed_a_second_time(graph: Graph) -> None:
    """It was a part of Kubeflow's component."""
    [alias] = graph.one(RELEASE, "kubeflow-trainer").request.aliases

    assert alias.spec.parentUrn.endswith("::lyceum:workspaces:Workspaces$lyceum:workspaces:Kubeflow::kubeflow")


def test_kueue_starts_when_the_kinds_of_training_are_there(graph: Graph) -> None:
    """It looks for them at its start. Those that came meanwhile it found halfway, and no TrainJob was ever admitted."""
    assert graph.one(RELEASE, "kubeflow-trainer").urn in graph.before(graph.one(RELEASE, "kueue"))


def test_kueue_starts_again_when_training_is_switched_on_later() -> None:
    """Its chart starts the pods again when their configuration changes."""

    def frameworks(*, enabled: bool) -> list[str]:
        values = queues.values(site({"workspaces": {"kubeflow": {"trainer": {"enabled": enabled}}}}))
        found: list[str] = yaml.safe_load(values["managerConfig"]["controllerManagerConfigYaml"])["integrations"][
            "frameworks"
        ]
        return found

    assert set(frameworks(enabled=True)) - set(frameworks(enabled=False)) == {
        "jobset.x-k8s.io/jobset",
        "trainer.kubeflow.org/trainjob",
    }


def test_kueue_does_not_wait_for_the_pods_of_training(graph: Graph) -> None:
    """Their webhook's check does, beside the other layers."""
    assert graph.one(RELEASE, "kubeflow-trainer").inputs["skipAwait"] is True
    assert graph.one(COMMAND_TYPE, "kubeflow-trainer-webhook").urn not in graph.before(graph.one(RELEASE, "kueue"))


def test_the_runtimes_are_objects_of_the_program_and_no_hook_makes_them(graph: Graph) -> None:
    """Trainer's hook Job runs as root and fetches kubectl from the internet: refused, and on a closed campus in vain."""
    made = {one.inputs["metadata"]["name"]: one.inputs for one in graph.of_type(RUNTIME)}

    assert set(made) == {"torch-distributed", "deepspeed-distributed"}
    assert made["torch-distributed"]["metadata"]["labels"] == {"trainer.kubeflow.org/framework": "torch"}
    assert "runtimes" not in training.VALUES


def test_runtimes_come_after_the_webhook_that_checks_them_answers(graph: Graph) -> None:
    answers = graph.one(COMMAND_TYPE, "kubeflow-trainer-webhook")

    assert all(answers.urn in graph.before(runtime) for runtime in graph.of_type(RUNTIME))
    assert graph.one(RELEASE, "kubeflow-trainer").urn in graph.before(answers)


@pytest.mark.parametrize("framework", list(training_runtimes.RUNTIMES))
def test_pods_of_a_training_may_start_where_people_may(framework: str) -> None:
    """`default` is `restricted`; tests/lab/test_admission.py asks an API server."""
    jobs = training_runtimes.RUNTIMES[framework]["template"]["spec"]["replicatedJobs"]
    pods: list[dict[str, Any]] = [job["template"]["spec"]["template"]["spec"] for job in jobs]

    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert [one["securityContext"]["capabilities"] for one in pod["containers"]] == [{"drop": ["ALL"]}]
