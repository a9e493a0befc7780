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


_CARD = "{{Hostname}} GPU {{gpu}}{{GPU_I_PROFILE}}"

BOARDS: dict[str, tuple[Panel, ...]] = {
    "GPU utilisation": (
        Panel("Utilisation", "DCGM_FI_DEV_GPU_UTIL", _CARD, "percent"),
        Panel("Compute activity, MIG included", "100 * DCGM_FI_PROF_GR_ENGINE_ACTIVE", _CARD, "percent"),
        Panel("Memory used", "DCGM_FI_DEV_FB_USED * 1024 * 1024", _CARD, "bytes"),
        Panel("Cards nobody uses", "count(DCGM_FI_DEV_GPU_UTIL == 0) by (modelName)", "{{modelName}}"),
        Panel(
            "GPUs asked for, by namespace",
            'sum(kube_pod_container_resource_requests{resource=~"nvidia_com_.*"}) by (namespace)',
            "{{namespace}}",
        ),
        Panel(
            "GPUs offered and free",
            'sum(kube_node_status_allocatable{resource=~"nvidia_com_.*"}) by (resource)'
            ' - sum(kube_pod_container_resource_requests{resource=~"nvidia_com_.*"}) by (resource)',
            "{{resource}}",
        ),
    ),
    "GPU health": (
        Panel("Temperature", "DCGM_FI_DEV_GPU_TEMP", _CARD, "celsius"),
        Panel("Power", "DCGM_FI_DEV_POWER_USAGE", _CARD, "watt"),
        Panel("SM clock", "DCGM_FI_DEV_SM_CLOCK * 1e6", _CARD, "hertz"),
        Panel("PCIe received", "DCGM_FI_PROF_PCIE_RX_BYTES", _CARD, "Bps"),
        Panel("PCIe sent", "DCGM_FI_PROF_PCIE_TX_BYTES", _CARD, "Bps"),
        Panel("Memory rows replaced after uncorrectable ECC errors", "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", _CARD),
        Panel("Last XID error", "DCGM_FI_DEV_XID_ERRORS", _CARD),
    ),
    "JupyterHub activity": (
        Panel("Running servers", "jupyterhub_running_servers", "servers"),
        Panel("Active users", "jupyterhub_active_users", "{{period}}"),
        Panel(
            "Time to start a server, 95 of 100",
            "histogram_quantile(0.95, sum(rate(jupyterhub_server_spawn_duration_seconds_bucket[1h])) by (le))",
            "p95",
            "s",
        ),
        Panel(
            "Failed starts",
            'sum(rate(jupyterhub_server_spawn_duration_seconds_count{status!="success"}[1h])) by (status)',
            "{{status}}",
        ),
    ),
    "Cluster overview": (
        Panel("Nodes ready", 'sum(kube_node_status_condition{condition="Ready",status="true"})', "ready"),
        Panel(
            "CPU used",
            "1 - avg(rate(node_cpu_seconds_total{mode='idle'}[5m])) by (instance)",
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
            "Pods not running", 'sum(kube_pod_status_phase{phase=~"Pending|Failed|Unknown"}) by (phase)', "{{phase}}"
        ),
        Panel(
            "Volumes by use",
            "kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes",
            "{{namespace}}/{{persistentvolumeclaim}}",
            "percentunit",
        ),
    ),
}
"""Board -> panels. Metric names: DCGM exporter's default counters, kube-state-metrics, JupyterHub's monitoring page."""


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
