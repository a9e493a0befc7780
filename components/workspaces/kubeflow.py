"""The parts of Kubeflow that install independently: Trainer, Pipelines, KServe (R14, R38)."""

from typing import ClassVar

import pulumi
import pulumi_kubernetes as k8s

from components.layer import Layer, LayerArgs, Values, chart_arguments, sample_object
from components.workspaces import training
from config.site import Site

TRAINER_API = "trainer.kubeflow.org/v1alpha1"
KSERVE_API = "serving.kserve.io/v1alpha1"
PIPELINES_MANIFESTS = "https://github.com/kubeflow/pipelines/manifests/kustomize"


class Kubeflow(Layer):
    """Training, pipelines and serving, each switchable.

    Creates: for Trainer a namespace, a release and the runtimes; for KServe two namespaces, one of them for people's
    models, and three releases (kinds, controller, runtimes); for Pipelines a namespace and a release from a mirror, or
    upstream's kustomization.
    Waits for: the controllers, then the webhooks that check the runtimes.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:Kubeflow"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        wanted = self.site.workspaces.kubeflow
        ready: list[pulumi.Resource] = []
        if wanted.trainer.enabled:
            ready += self._add_trainer()
        if wanted.kserve.enabled:
            ready.append(self._add_kserve())
        if wanted.pipelines.enabled:
            ready.append(self._add_pipelines())
        self.ready = tuple(ready)
        self.register_outputs({})

    def _add_trainer(self) -> list[pulumi.Resource]:
        release = self.add_release("kubeflow-trainer", trainer_values())
        sample = sample_object("ClusterTrainingRuntime", TRAINER_API, training.torch_runtime())
        answers = self.add_webhook_check("kubeflow-trainer", sample, trainer_values(), release)
        return [
            self.add_custom_resource(
                f"{framework}-distributed",
                "ClusterTrainingRuntime",
                TRAINER_API,
                spec,
                after=[answers],
                labels={"trainer.kubeflow.org/framework": framework},
            )
            for framework, spec in training.RUNTIMES.items()
        ]

    def _add_kserve(self) -> pulumi.Resource:
        self.add_namespace("inference", keep=True)
        kinds = self.add_release("kserve-crd", {})
        controller = self.add_release("kserve-resources", kserve_values(self.site), after=[kinds])
        sample = sample_object("ClusterServingRuntime", KSERVE_API, {"containers": [{"name": "main", "image": "none"}]})
        answers = self.add_webhook_check("kserve-resources", sample, kserve_values(self.site), controller)
        return self.add_release("kserve-runtime-configs", runtime_values(), after=[answers])

    def _add_pipelines(self) -> pulumi.Resource:
        if self.site.charts != "upstream":
            return self.add_release("kubeflow-pipelines", {})
        # Upstream has no chart; its kustomization brings the namespace itself.
        version = chart_arguments(self.site, "kubeflow-pipelines")["version"]
        cluster_scoped = k8s.kustomize.v2.Directory(
            "pipelines-kinds",
            directory=f"{PIPELINES_MANIFESTS}/cluster-scoped-resources?ref={version}",
            opts=self.child(depends_on=self._after),
        )
        return k8s.kustomize.v2.Directory(
            "pipelines",
            directory=f"{PIPELINES_MANIFESTS}/env/platform-agnostic?ref={version}",
            opts=self.child(depends_on=[cluster_scoped]),
        )


def trainer_values() -> Values:
    """Values of Kubeflow Trainer; JobSet comes with it, and no runtime: see `training`."""
    return {"crds": {"enabled": True}, "jobset": {"install": True}}


def kserve_values(site: Site) -> Values:
    """Values of KServe's controller: plain Deployments behind the ingress, without Knative and Istio."""
    return {
        "kserve": {
            "controller": {
                "deploymentMode": "Standard",
                "gateway": {
                    "domain": site.domain,
                    "disableIstioVirtualHost": True,
                    "ingressGateway": {"className": "nginx"},
                },
                # The chart's 300 MiB are too little once a few dozen models are served.
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "300Mi"}},
            }
        }
    }


def runtime_values() -> Values:
    """Values of KServe's serving runtimes."""
    return {"kserve": {"servingruntime": {"enabled": True}}}
