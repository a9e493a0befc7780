"""Alerts that the chart's own rules lack: GPUs, memory, volumes, etcd of K3s (R29) as data. Pure."""

from dataclasses import dataclass
from typing import Any

from components.layer import NFS

BROKEN_CARD_XIDS = (48, 62, 64, 74, 79, 95, 119, 120, 140)
"""XID errors for which NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors) asks for a reset, a restart or a repair.
Others, such as 13, 31 and 43, are mostly errors of the program that ran."""

_CARD = "max by (Hostname, gpu, modelName)"
_KUBELET = '{job="kubelet", metrics_path="/metrics"}'
"""K3s serves the metrics of all its parts at each of their addresses (k3s#3619)."""
_USED = f"kubelet_volume_stats_used_bytes{_KUBELET} / kubelet_volume_stats_capacity_bytes{_KUBELET}"
_ON_NFS = f'kube_persistentvolumeclaim_info{{storageclass="{NFS}"}}'


@dataclass(frozen=True)
class Alert:
    """One alerting rule.

    Attributes:
        name: Its name.
        query: PromQL; each series that it gives is one alert.
        pending: How long the query must give it first, as Prometheus writes durations.
        severity: `warning` or `critical`, as in the chart's own rules.
        summary: Template of one sentence for the person who is woken.
    """

    name: str
    query: str
    pending: str
    severity: str
    summary: str


ALERTS: tuple[Alert, ...] = (
    Alert(
        "GpuBroken",
        " or ".join(f"{_CARD} (DCGM_FI_DEV_XID_ERRORS) == {xid}" for xid in BROKEN_CARD_XIDS),
        "0s",
        "critical",
        "{{ $labels.Hostname }}: card {{ $labels.gpu }} ({{ $labels.modelName }}) reports XID {{ $value }}.",
    ),
    Alert(
        "GpuMemoryBroken",
        f"{_CARD} (DCGM_FI_DEV_ROW_REMAP_FAILURE) > 0",
        "0s",
        "critical",
        "{{ $labels.Hostname }}: card {{ $labels.gpu }} ({{ $labels.modelName }}) cannot replace a broken memory row.",
    ),
    Alert(
        "GpuMetricsMissing",
        'max by (node) (kube_node_status_allocatable{resource=~"nvidia_com_.*"}) > 0 unless on (node) '
        'label_replace(DCGM_FI_DEV_GPU_TEMP, "node", "$1", "Hostname", "(.+)")',
        "15m",
        "warning",
        "{{ $labels.node }} offers GPUs, but nothing is known about its cards.",
    ),
    Alert(
        "ContainerOutOfMemory",
        # A container that starts again counts up; one of a job stays terminated until its pod is deleted.
        "(increase(kube_pod_container_status_restarts_total[10m]) > 0 and on (namespace, pod, container) "
        'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1) or on (namespace, pod, container) '
        '(kube_pod_container_status_terminated_reason{reason="OOMKilled"} == 1 and on (namespace, pod) '
        "(time() - kube_pod_completion_time < 3600))",
        "0s",
        "warning",
        "{{ $labels.namespace }}/{{ $labels.pod }}: {{ $labels.container }} needed more memory than its limit.",
    ),
    Alert(
        "VolumeAlmostFull",
        f"max by (namespace, persistentvolumeclaim) ({_USED}) > 0.9 "
        f"unless on (namespace, persistentvolumeclaim) {_ON_NFS}",
        "5m",
        "warning",
        "{{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is {{ $value | humanizePercentage }} full.",
    ),
    Alert(
        "NfsAlmostFull",
        # Each claim there reports the file system that all of them share.
        f"max({_USED} and on (namespace, persistentvolumeclaim) {_ON_NFS}) > 0.9",
        "5m",
        "critical",
        "The campus's NFS export is {{ $value | humanizePercentage }} full.",
    ),
    Alert(
        "EtcdAlmostFull",
        'etcd_mvcc_db_total_size_in_bytes{job="kube-etcd"} / etcd_server_quota_backend_bytes{job="kube-etcd"} > 0.8',
        "10m",
        "warning",
        "etcd at {{ $labels.instance }} has used {{ $value | humanizePercentage }} of its space; at 100% it accepts no "
        "more changes.",
    ),
    Alert(
        "EtcdMemberDown",
        'up{job="kube-etcd"} == 0 or absent(up{job="kube-etcd"})',
        "5m",
        "critical",
        "etcd {{ with $labels.instance }}at {{ . }} {{ end }}does not answer.",
    ),
)


def rule_spec() -> dict[str, Any]:
    """Spec of the PrometheusRule."""
    rules = [
        {
            "alert": alert.name,
            "expr": alert.query,
            "for": alert.pending,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.summary},
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "lyceum", "rules": rules}]}
