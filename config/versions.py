"""Every version that Lyceum installs. Source: each project's release notes, read 2026-08/09."""

from dataclasses import dataclass

K3S = "v1.36.4+k3s1"
"""K3s stable channel since 2026-08-27; Rancher 2.15, Rook 1.20 and GPU Operator 26.7 do not support 1.37."""
KUBE_VIP = "v1.2.3"
"""kube-vip: pinned above v1.2.0 because of kube-vip#1747."""


@dataclass(frozen=True)
class Chart:
    """A Helm chart at one version.

    Attributes:
        name: Chart name, also its name in a mirror.
        version: Chart version.
        repo: Upstream repository; `oci://…` names the registry path without the chart.
    """

    name: str
    version: str
    repo: str


CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        Chart("metallb", "0.16.1", "https://metallb.github.io/metallb"),
        Chart("cert-manager", "v1.21.1", "oci://quay.io/jetstack/charts"),
        Chart("ingress-nginx", "4.15.1", "https://kubernetes.github.io/ingress-nginx"),
        Chart("rook-ceph", "v1.20.6", "https://charts.rook.io/release"),
        Chart("ceph-csi-drivers", "1.0.4", "https://ceph.github.io/ceph-csi-operator"),
        Chart("rook-ceph-cluster", "v1.20.6", "https://charts.rook.io/release"),
        Chart(
            "csi-driver-nfs", "4.13.4", "https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts"
        ),
        Chart("gpu-operator", "v26.7.0", "https://helm.ngc.nvidia.com/nvidia"),
        Chart("kueue", "0.19.2", "oci://registry.k8s.io/kueue/charts"),
        Chart("kubeflow-trainer", "2.3.0", "oci://ghcr.io/kubeflow/charts"),
        Chart("kserve-crd", "v0.20.0", "oci://ghcr.io/kserve/charts"),
        Chart("kserve-resources", "v0.20.0", "oci://ghcr.io/kserve/charts"),
        Chart("kserve-runtime-configs", "v0.20.0", "oci://ghcr.io/kserve/charts"),
        Chart("kubeflow-pipelines", "2.17.0", "https://github.com/kubeflow/pipelines/manifests/kustomize"),
        Chart("jupyterhub", "4.4.0", "https://hub.jupyter.org/helm-chart/"),
        Chart("prometheus-operator-crds", "31.0.1", "oci://ghcr.io/prometheus-community/charts"),
        Chart("kube-prometheus-stack", "88.5.3", "oci://ghcr.io/prometheus-community/charts"),
    )
}

DRIVER = "595.91.07"
"""NVIDIA driver that the pinned GPU Operator installs where a site sets none (its values.yaml, `driver.version`)."""
NOTEBOOKS = {
    "pytorch": ("PyTorch", "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03"),
    "tensorflow": ("TensorFlow", "quay.io/jupyter/tensorflow-notebook:cuda-2026-08-03"),
}
"""Framework -> title and image of the notebooks that are offered where a site has no profiles."""
TORCH_RUNTIME = "docker.io/pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime"
DEEPSPEED_RUNTIME = "ghcr.io/kubeflow/trainer/deepspeed-runtime:v2.3.0"
"""Images of the training runtimes: those of Trainer 2.3's own runtimes (charts/kubeflow-trainer/files/runtimes)."""
CPU_NOTEBOOK = "quay.io/jupyter/scipy-notebook:2026-08-03"


@dataclass(frozen=True)
class KubernetesSupport:
    """Kubernetes minor versions that a component supports.

    Attributes:
        part: Chart, or name of the component.
        first: First supported minor of Kubernetes 1.
        last: Last supported minor.
        source: Where it is documented.
    """

    part: str
    first: int
    last: int
    source: str


SUPPORT: tuple[KubernetesSupport, ...] = (
    KubernetesSupport("rook-ceph", 31, 36, "Rook 1.20 prerequisites"),
    KubernetesSupport("gpu-operator", 33, 36, "GPU Operator 26.7 platform support, K3s"),
    KubernetesSupport("kubeflow-trainer", 31, 99, "Trainer 2.3 installation"),
    KubernetesSupport("rancher", 34, 36, "Rancher 2.15 chart: kubeVersion < 1.37.0-0; Fleet 0.16: >= 1.34"),
)
"""Kubernetes versions that each component documents; read 2026-08. A component without such documentation is not listed."""
MIN_METALLB = {36: (0, 16)}
"""Kubernetes minor -> minimum version of MetalLB: older CRDs are invalid there (metallb#3035)."""
