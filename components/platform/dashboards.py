"""Grafana dashboards (R29) as data: a title, a query, a unit. Pure."""

import json
from dataclasses import dataclass
from typing import Any

_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """One time series panel.

    Attributes:
        title: Title.
        query: PromQL.
        legend: Label template of its lines.
        unit: Grafana's name of the unit.
    """

    title: str
    query: str
    legend: str
    unit: str = "short"


_CARD = "{{Hostname}} GPU {{gpu}}"
_SLICE = f"{_CARD} {{{{GPU_I_PROFILE}}}} {{{{GPU_I_ID}}}}"


def _of_card(metric: str) -> str:
    """One line a card: in MIG mode the exporter repeats what belongs to the card for each of its instances."""
    return f"max by (Hostname, gpu, modelName) ({metric})"


def _of_slice(metric: str) -> str:
    """One line a card, or one a MIG instance."""
    return f"max by (Hostname, gpu, modelName, GPU_I_PROFILE, GPU_I_ID) ({metric})"


_ACTIVITY = "100 * DCGM_FI_PROF_GR_ENGINE_ACTIVE or DCGM_FI_DEV_GPU_UTIL"
"""Percent. MIG instances have only the first, GeForce cards only the second; a card with both gives one line."""

_GPUS = 'resource=~"nvidia_com_.*"'
_ON_NODES = f'kube_pod_container_resource_requests{{{_GPUS}, node!=""}}'
"""Requests of pods that have a node. Finished pods keep theirs until they are deleted, but hold nothing."""
_UNFINISHED = 'on (namespace, pod) group_left () (kube_pod_status_phase{phase=~"Pending|Running"} == 1)'
_OFFERED = f"sum by (node, resource) (kube_node_status_allocatable{{{_GPUS}}})"
_HELD = f"sum by (node, resource) ({_ON_NODES} * {_UNFINISHED})"
_SCHEDULABLE = (
    'sum by (node) (kube_node_status_condition{condition="Ready", status="true"}) '
    "* on (node) (1 - max by (node) (kube_node_spec_unschedulable))"
)
_VOLUMES = '{job="kubelet", metrics_path="/metrics"}'
"""K3s serves the metrics of all its parts at each of their addresses (k3s#3619): the API server's target has them too."""

BOARDS: dict[str, tuple[Panel, ...]] = {
    "GPU utilisation": (
        Panel("Utilisation", _of_slice(_ACTIVITY), _SLICE, "percent"),
        Panel("GPU memory used", _of_slice("DCGM_FI_DEV_FB_USED * 1024 * 1024"), _SLICE, "bytes"),
        Panel("Cards without work", f"sum by (modelName) ({_of_card(_ACTIVITY)} == bool 0)", "{{modelName}}"),
        Panel(
            "GPUs asked for, by namespace",
            f"sum by (namespace) (kube_pod_container_resource_requests{{{_GPUS}}} * {_UNFINISHED})",
            "{{namespace}}",
        ),
        Panel(
            "GPUs offered and free",
            f"sum by (resource) (({_OFFERED} - ({_HELD} or 0 * {_OFFERED})) * on (node) group_left () ({_SCHEDULABLE}))",
            "{{resource}}",
        ),
    ),
    "GPU health": (
        Panel("Temperature", _of_card("DCGM_FI_DEV_GPU_TEMP"), _CARD, "celsius"),
        Panel("Power", _of_card("DCGM_FI_DEV_POWER_USAGE"), _CARD, "watt"),
        Panel("SM clock", _of_card("DCGM_FI_DEV_SM_CLOCK * 1e6"), _CARD, "hertz"),
        # GeForce cards have no profiling metrics; the fallback is NVML's, in KB/s.
        Panel(
            "PCIe received",
            _of_card("DCGM_FI_PROF_PCIE_RX_BYTES or 1000 * DCGM_FI_DEV_PCIE_RX_THROUGHPUT"),
            _CARD,
            "Bps",
        ),
        Panel(
            "PCIe sent", _of_card("DCGM_FI_PROF_PCIE_TX_BYTES or 1000 * DCGM_FI_DEV_PCIE_TX_THROUGHPUT"), _CARD, "Bps"
        ),
        Panel(
            "Memory rows replaced after uncorrectable ECC errors",
            _of_card("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"),
            _CARD,
        ),
        Panel("Last XID error", _of_card("DCGM_FI_DEV_XID_ERRORS"), _CARD),
    ),
    "JupyterHub activity": (
        Panel("Running servers", "jupyterhub_running_servers", "servers"),
        Panel("Active users", "jupyterhub_active_users", "{{period}}"),
        # Refused starts are counted too, with almost no time. `>= 0` leaves out an hour without a start, which is NaN.
        Panel(
            "Time to start a server, 95 of 100",
            "histogram_quantile(0.95, sum by (le) "
            '(rate(jupyterhub_server_spawn_duration_seconds_bucket{status="success"}[1h]))) >= 0',
            "p95",
            "s",
        ),
        Panel(
            "Failed starts in an hour",
            'sum by (status) (increase(jupyterhub_server_spawn_duration_seconds_count{status!="success"}[1h]))',
            "{{status}}",
        ),
    ),
    "Cluster overview": (
        Panel("Nodes ready", 'sum(kube_node_status_condition{condition="Ready", status="true"})', "ready"),
        Panel(
            "CPU used",
            '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))',
            "{{instance}}",
            "percentunit",
        ),
        Panel(
            "Memory used",
            "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
            "{{instance}}",
            "percentunit",
        ),
        Panel(
            "Disk used",
            '1 - node_filesystem_avail_bytes{mountpoint="/"} / node_filesystem_size_bytes{mountpoint="/"}',
            "{{instance}}",
            "percentunit",
        ),
        Panel(
            "Pods not running", 'sum by (phase) (kube_pod_status_phase{phase=~"Pending|Failed|Unknown"})', "{{phase}}"
        ),
        # A volume that several nodes mount is reported by each of them.
        Panel(
            "Volumes by use",
            "max by (namespace, persistentvolumeclaim) "
            f"(kubelet_volume_stats_used_bytes{_VOLUMES} / kubelet_volume_stats_capacity_bytes{_VOLUMES})",
            "{{namespace}}/{{persistentvolumeclaim}}",
            "percentunit",
        ),
    ),
}
"""Board -> panels. tests/metrics evaluates each query, and holds its names against those who export them."""


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(index, _COLUMNS)
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "expr": panel.query, "legendFormat": panel.legend}],
    }


def dashboard_model(title: str) -> dict[str, Any]:
    """One dashboard as Grafana's JSON model."""
    return {
        "uid": f"lyceum-{title.lower().replace(' ', '-')}",
        "title": title,
        "tags": ["lyceum"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "panels": [_panel(index, panel) for index, panel in enumerate(BOARDS[title])],
    }


def dashboard_files() -> dict[str, str]:
    """Every dashboard, as the files of the ConfigMap that Grafana's sidecar reads."""
    return {
        f"{title.lower().replace(' ', '-')}.json": json.dumps(dashboard_model(title), sort_keys=True)
        for title in BOARDS
    }
