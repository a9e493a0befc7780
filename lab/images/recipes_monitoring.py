"""Images of the monitoring that run as pods of the lab: one program of the toolchain each, and a DCGM exporter."""

from lab.charts.stand_in import load_catalog
from lab.images.recipes import Binaries, Image, Tools
from toolchain.monitoring_programs import ALERTMANAGER, OPERATOR, PROMETHEUS, STATE_METRICS, product_version
from toolchain.programs import pinned_module


def images() -> tuple[Image, ...]:
    """Their names are those of the charts, their tags those of the pins in the toolchain."""
    prometheus = product_version(pinned_module("controllers/prometheus", PROMETHEUS))
    alertmanager = pinned_module("controllers/alertmanager", ALERTMANAGER)
    operator = pinned_module("controllers/prometheus-operator", OPERATOR)
    state_metrics = pinned_module("controllers/kube-state-metrics", STATE_METRICS)
    exporter = next(one for one in load_catalog() if one.name == "gpu-operator").values["dcgmExporter"]
    return (
        Image(
            # A web server for what lab/controllers/gpu/telemetry.py says.
            names=("{repository}/{image}:{version}".format_map(exporter),),
            layers=(Tools(),),
            entrypoint=("/usr/bin/busybox", "httpd", "-f", "-p", "9400", "-h", "/www"),
            user="0",
        ),
        Image(
            names=(f"quay.io/prometheus/prometheus:v{prometheus}-distroless",),
            layers=(Binaries("prometheus", {"/bin/prometheus": "prometheus", "/bin/promtool": "promtool"}),),
            entrypoint=("/bin/prometheus",),
            user="65534",
        ),
        Image(
            names=(f"quay.io/prometheus/alertmanager:v{alertmanager}",),
            layers=(Binaries("alertmanager", {"/bin/alertmanager": "alertmanager", "/bin/amtool": "amtool"}),),
            entrypoint=("/bin/alertmanager",),
            user="65534",
        ),
        Image(
            names=(f"quay.io/prometheus-operator/prometheus-operator:v{operator}",),
            layers=(Binaries("prometheus-operator", {"/bin/operator": "prometheus-operator"}),),
            entrypoint=("/bin/operator",),
            user="65534",
        ),
        Image(
            # The operator sets the command.
            names=(f"quay.io/prometheus-operator/prometheus-config-reloader:v{operator}",),
            layers=(
                Binaries("prometheus-operator", {"/bin/prometheus-config-reloader": "prometheus-config-reloader"}),
            ),
            entrypoint=("/bin/prometheus-config-reloader",),
            user="65534",
        ),
        Image(
            names=(f"registry.k8s.io/kube-state-metrics/kube-state-metrics:v{state_metrics}",),
            layers=(Binaries("kube-state-metrics", {"/kube-state-metrics": "kube-state-metrics"}),),
            entrypoint=("/kube-state-metrics",),
            user="65534",
        ),
    )
