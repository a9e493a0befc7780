"""Prometheus, Alertmanager and Grafana (R29)."""

from typing import Any, ClassVar

import pulumi
import pulumi_kubernetes as k8s

from components.layer import MONITORING, MONITORING_API, Layer, LayerArgs, Values, ingress_values, quantity
from components.platform import alerts, dashboards
from components.platform.storage import metrics_class
from config.hosts import Node, Role
from config.layers import page_host
from config.site import Site


class MonitoringTypes(Layer):
    """The kinds of the Prometheus operator, before every chart that brings a ServiceMonitor.

    Creates: namespace, release. Without the kinds, charts silently leave out their ServiceMonitors.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:MonitoringTypes"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        self.ready = (self.add_release("prometheus-operator-crds", {}),)
        self.register_outputs({})


class Monitoring(Layer):
    """Metrics, alerts and dashboards.

    Creates: Grafana's password, dashboards, release, alerts.
    Waits for: the workloads, and what they store on.
    Secret: Grafana's password.
    """

    TOKEN: ClassVar[str] = "lyceum:platform:Monitoring"  # noqa: S105 - a type token

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        login = k8s.core.v1.Secret(
            "grafana-login",
            metadata={"name": "grafana-login", "namespace": MONITORING},
            string_data={"admin-user": "admin", "admin-password": self.secrets["grafana-admin"]},
            opts=self.child(depends_on=self._after),
        )
        boards = k8s.core.v1.ConfigMap(
            "dashboards",
            metadata={"name": "lyceum-dashboards", "namespace": MONITORING, "labels": {"grafana_dashboard": "1"}},
            data=dashboards.dashboard_files(),
            opts=self.child(depends_on=self._after),
        )
        release = self.add_release(
            "kube-prometheus-stack", values(self.site, self.nodes), after=[login, boards], timeout=900
        )
        self.add_custom_resource(
            "lyceum", "PrometheusRule", MONITORING_API, alerts.rule_spec(), after=[release], namespace=MONITORING
        )
        self.ready = (release,)
        self.register_outputs({})


def _open_selectors() -> Values:
    """Selects every monitor in the cluster, not only those of this release."""
    kinds = ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    return {f"{kind}SelectorNilUsesHelmValues": False for kind in kinds}


def values(site: Site, nodes: tuple[Node, ...]) -> Values:
    """Chart values for K3s, whose components share one process: scraped one by one, each would be counted three times."""
    monitoring = site.platform.monitoring
    servers = [str(node.address) for node in nodes if node.role is Role.SERVER]

    def volume(size: str) -> dict[str, Any]:
        request = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
        return {"volumeClaimTemplate": {"spec": {"storageClassName": metrics_class(site), **request}}}

    return {
        "crds": {"enabled": False},
        "kubeControllerManager": {"enabled": False},
        "kubeScheduler": {"enabled": False},
        "kubeProxy": {"enabled": False},
        "kubeEtcd": {"enabled": True, "endpoints": servers, "service": {"port": 2381, "targetPort": 2381}},
        "prometheus": {
            "prometheusSpec": {
                **_open_selectors(),
                "retention": monitoring.retention,
                "scrapeInterval": monitoring.scrape_interval,
                "storageSpec": volume(quantity(monitoring.storage)),
            }
        },
        "alertmanager": {"alertmanagerSpec": {"storage": volume("2Gi")}},
        # The chart's own tolerates NoSchedule only.
        "prometheus-node-exporter": {"tolerations": [{"operator": "Exists"}]},
        "grafana": {
            "admin": {"existingSecret": "grafana-login", "userKey": "admin-user", "passwordKey": "admin-password"},
            "sidecar": {"dashboards": {"enabled": True, "label": "grafana_dashboard", "labelValue": "1"}},
            "ingress": ingress_values(site, page_host(site, "monitoring"), "grafana-tls"),
        },
        "prometheusOperator": {
            "admissionWebhooks": {"certManager": {"enabled": site.platform.certificates.enabled}},
        },
    }
