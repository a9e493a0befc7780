"""The parts of Kubeflow that install independently: Trainer, Pipelines, KServe (R14, R38)."""

from typing import ClassVar

import pulumi
import pulumi_kubernetes as k8s

from components.layer import Layer, LayerArgs, Values, chart_arguments
from config.site import Site

PIPELINES_MANIFESTS = "https://github.com/kubeflow/pipelines/manifests/kustomize"


class Kubeflow(Layer):
    """Training, pipelines and serving, each switchable.

    Creates: a namespace and release for Trainer; for KServe a namespace and three releases (kinds, controller,
    runtimes); for Pipelines a namespace and a release from a mirror, or upstream's kustomization.
    """

    TOKEN: ClassVar[str] = "lyceum:workspaces:Kubeflow"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        wanted = self.site.workspaces.kubeflow
        ready: list[pulumi.Resource] = []
        if wanted.trainer.enabled:
            ready.append(self.add_release("kubeflow-trainer", trainer_values()))
        if wanted.kserve.enabled:
            ready.append(self._add_kserve())
        if wanted.pipelines.enabled:
            ready.append(self._add_pipelines())
        self.ready = tuple(ready)
        self.register_outputs({})

    def _add_kserve(self) -> pulumi.Resource:
        kinds = self.add_release("kserve-crd", {})
        controller = self.add_release("kserve-resources", kserve_values(self.site), after=[kinds])
        return self.add_release("kserve-runtime-configs", runtime_values(), after=[controller])

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
    """Values of Kubeflow Trainer; JobSet comes with it."""
    return {
        "crds": {"enabled": True},
        "jobset": {"install": True},
        "runtimes": {"torchDistributed": {"enabled": True}, "deepspeedDistributed": {"enabled": True}},
    }


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
