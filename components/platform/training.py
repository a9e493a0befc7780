"""Kubeflow Trainer with JobSet: training on one or many nodes (R38, R43)."""

from typing import Any, ClassVar

import pulumi

from components.layer import Layer, LayerArgs, Values, sample_object
from components.platform import training_runtimes

TRAINER_API, JOBSET_API = "trainer.kubeflow.org/v1alpha1", "jobset.x-k8s.io/v1alpha2"
FORMER_PARENT = "lyceum:workspaces:Workspaces$lyceum:workspaces:Kubeflow::kubeflow"
VALUES: Values = {"crds": {"enabled": True}, "jobset": {"install": True}}
"""Values of Trainer's chart; JobSet comes with it, and no runtime: see `training_runtimes`."""


class Training(Layer):
    """Trainer, JobSet, and the runtimes that a TrainJob can name.

    Creates: a namespace, a release, the runtimes.
    Waits for: the webhooks, which answer once the controllers are ready. Kueue, which must not start before the kinds
    are there, waits for the release alone.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Training"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        release = self.add_release("kubeflow-trainer", VALUES, skip_await=True)
        runtime = sample_object("ClusterTrainingRuntime", TRAINER_API, training_runtimes.torch_runtime())
        answers = self.add_webhook_check("kubeflow-trainer", runtime)
        for framework, spec in training_runtimes.RUNTIMES.items():
            self.add_custom_resource(
                f"{framework}-distributed",
                "ClusterTrainingRuntime",
                TRAINER_API,
                spec,
                after=[answers],
                labels={"trainer.kubeflow.org/framework": framework},
            )
        self.ready = (release,)
        self.register_outputs({})

    def child(self, **options: Any) -> pulumi.ResourceOptions:
        """With the parent that it had as a part of Kubeflow: what is installed stays as it is."""
        former = self.urn.apply(lambda urn: f"{urn.rsplit('::', 2)[0]}::{FORMER_PARENT}")
        return super().child(aliases=[pulumi.Alias(parent=former)], **options)
