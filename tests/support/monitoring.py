"""Questions to the Prometheus and the Alertmanager of a campus, through the API server's proxy."""

import json
from typing import Any
from urllib.parse import quote

from tests.support.project import Project

_SERVICES = "/api/v1/namespaces/monitoring/services/kube-prometheus-stack-"


def ask_prometheus(campus: Project, path: str) -> Any:
    """The `data` of an answer of Prometheus's API, below /api/v1."""
    return json.loads(campus.kubectl("get", "--raw", f"{_SERVICES}prometheus:http-web/proxy/api/v1/{path}"))["data"]


def query(campus: Project, promql: str) -> list[dict[str, Any]]:
    """What a query gives now: label sets with values."""
    found: list[dict[str, Any]] = ask_prometheus(campus, f"query?query={quote(promql)}")["result"]
    return found


def alerts(campus: Project) -> set[str]:
    """Names of the alerts that Alertmanager has."""
    text = campus.kubectl("get", "--raw", f"{_SERVICES}alertmanager:http-web/proxy/api/v2/alerts")
    return {one["labels"]["alertname"] for one in json.loads(text)}
