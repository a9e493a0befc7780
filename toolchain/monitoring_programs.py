"""The monitoring that runs in pods of the lab, and promtool, which judges every query: versions are those of the chart.

Each is compiled from the Go module of its project; `toolchain/controllers/<name>/go.mod` pins the versions.
"""

from __future__ import annotations

from toolchain import charts
from toolchain.programs import BuildWorkspace, Program, controller_program

PROMETHEUS = "github.com/prometheus/prometheus"
ALERTMANAGER = "github.com/prometheus/alertmanager"
OPERATOR = "github.com/prometheus-operator/prometheus-operator"
STATE_METRICS = "k8s.io/kube-state-metrics/v2"
VERSION = "github.com/prometheus/common/version.Version"
CRDS_CHART = "31.0.1"
"""Version of the chart prometheus-operator-crds whose definitions are those of the operator's version."""

_TAGS = ("remove_all_sd", "enable_kubernetes_sd")
"""Prometheus without the client libraries of every cloud."""
_PAGE = "<!doctype html>\n<title>Alertmanager</title>\n<p>This build has no page; its API is below /api/v2.\n"


def product_version(module: str) -> str:
    """Prometheus's own version from its module's: 0.314.0 is 3.14.0."""
    _, number, patch = module.split(".")
    return f"{int(number) // 100}.{int(number) % 100}.{patch}"


def _build_prometheus(workspace: BuildWorkspace) -> None:
    version = {VERSION: product_version(workspace.version)}
    for name in ("promtool", "prometheus"):
        workspace.compile(f"{PROMETHEUS}/cmd/{name}", name, version, _TAGS)


def _build_alertmanager(workspace: BuildWorkspace) -> None:
    # The module lacks its page, which is built from another language.
    page = workspace.copy_module(f"{ALERTMANAGER}@v{workspace.version}", "upstream") / "ui" / "app" / "dist"
    page.mkdir(parents=True, exist_ok=True)
    (page / "index.html").write_text(_PAGE)
    for name in ("alertmanager", "amtool"):
        workspace.compile(f"{ALERTMANAGER}/cmd/{name}", name, {VERSION: workspace.version})


def _build_operator(workspace: BuildWorkspace) -> None:
    version = {VERSION: workspace.version}
    workspace.compile(f"{OPERATOR}/cmd/operator", "prometheus-operator", version)
    workspace.compile(f"{OPERATOR}/cmd/prometheus-config-reloader", "prometheus-config-reloader", version)
    archive = charts.operator_definitions_chart(workspace.module(OPERATOR), CRDS_CHART)
    workspace.keep_data(f"charts/prometheus-operator-crds-{CRDS_CHART}.tgz", archive)


def _build_state_metrics(workspace: BuildWorkspace) -> None:
    workspace.compile(STATE_METRICS, "kube-state-metrics", {VERSION: workspace.version})


def monitoring_programs() -> tuple[Program, ...]:
    """The programs in build order; promtool first, because tests wait for it."""
    definitions = f"charts/prometheus-operator-crds-{CRDS_CHART}.tgz"
    operator = ("prometheus-operator", "prometheus-config-reloader")
    return (
        controller_program("prometheus", PROMETHEUS, _build_prometheus, ("promtool", "prometheus"), 1),
        controller_program("kube-state-metrics", STATE_METRICS, _build_state_metrics, ("kube-state-metrics",), 0.7),
        controller_program("alertmanager", ALERTMANAGER, _build_alertmanager, ("alertmanager", "amtool"), 0.3),
        controller_program("prometheus-operator", OPERATOR, _build_operator, operator, 1, data=(definitions,)),
    )
