"""The parts of Kubeflow that install independently: Pipelines and KServe (R14, R38); Trainer comes before the queues."""

from typing import ClassVar

import pulumi
import pulumi_kubernetes as k8s

from components.layer import Layer, LayerArgs, Values, chart_arguments, sample_object
from config.site import Site

KSERVE_API = "serving.kserve.io/v1alpha1"
PIPELINES_MANIFESTS = "https://github.com/kubeflow/pipelines/manifests/kustomize"


class Kubeflow(Layer):
    """Pipelines and serving, each switchable.

    Creates: for KServe two namespaces, one of them for people's models, and three releases (kinds, controller,
    runtimes); for Pipelines a namespace and a release from a mirror, or upstream's kustomization.
    Waits for: the controllers, then the webhooks that check the runtimes.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:Kubeflow"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        wanted = self.site.workspaces.kubeflow
        ready: list[pulumi.Resource] = []
        if wanted.kserve.enabled:
            ready.append(self._add_kserve())
        if wanted.pipelines.enabled:
            ready.append(self._add_pipelines())
        self.ready = tuple(ready)
        self.register_outputs({})

    def _add_kserve(self) -> pulumi.Resource:
        self.add_namespace("inference", keep=True)
        kinds = self.add_release("kserve-crd", {})
        self.add_release("kserve-resources", kserve_values(self.site), after=[kinds])
        sample = sample_object("ClusterServingRuntime", KSERVE_API, {"containers": [{"name": "main", "image": "none"}]})
        answers = self.add_webhook_check("kserve-resources", sample)
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
