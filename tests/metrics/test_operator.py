"""The real Prometheus operator reads what Lyceum gives it, and the real promtool what the operator makes of that."""

import base64
import gzip
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.layer import MONITORING, MONITORING_API
from components.platform import alerts
from components.workspaces import jupyterhub
from tests.contracts.upstream import Loader
from tests.support.controlplane import ControlPlane
from tests.support.ports import free_port
from tests.support.programs import install
from toolchain import cache
from toolchain.programs import programs

pytestmark = pytest.mark.lab

TOKEN = "a-token-of-the-hub"
CLUSTER_WIDE: dict[str, dict[str, Any]] = {
    f"{kind}{selector}": {} for kind in ("serviceMonitor", "rule") for selector in ("Selector", "NamespaceSelector")
}


def definitions() -> list[dict[str, Any]]:
    """The operator's own definitions, as the toolchain packed them."""
    [program] = (one for one in programs() if one.name == "prometheus-operator")
    with tarfile.open(cache.entry_path(program) / program.data[0]) as archive:
        files = [name for name in archive.getnames() if "/definitions/" in name]
        return [yaml.load(archive.extractfile(name), Loader) for name in files]  # type: ignore[arg-type]


def thing(kind: str, name: str, namespace: str, **fields: Any) -> dict[str, Any]:
    api = "v1" if kind == "Secret" else MONITORING_API
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **fields}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with the operator, a Prometheus, the hub's monitor and Lyceum's rules."""
    operator = install("prometheus-operator")
    with ControlPlane(tmp_path_factory.mktemp("plane"), pods=False) as plane:
        plane.define(*definitions())
        for name in (MONITORING, "jupyterhub"):
            plane.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        key = jupyterhub.MONITOR["endpoints"][0]["authorization"]["credentials"]["key"]
        plane.create(
            "/api/v1/namespaces/jupyterhub/secrets", thing("Secret", "hub", "jupyterhub", stringData={key: TOKEN})
        )
        for kind, plural, name, namespace, spec in (
            ("ServiceMonitor", "servicemonitors", "hub", "jupyterhub", jupyterhub.MONITOR),
            ("PrometheusRule", "prometheusrules", "lyceum", MONITORING, alerts.rule_spec()),
            ("Prometheus", "prometheuses", "campus", MONITORING, {"replicas": 1, **CLUSTER_WIDE}),
        ):
            plane.create(
                f"/apis/{MONITORING_API}/namespaces/{namespace}/{plural}", thing(kind, name, namespace, spec=spec)
            )
        command = [str(operator), f"--web.listen-address=127.0.0.1:{free_port()}"]
        environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig)}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield plane
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def configuration(plane: ControlPlane) -> str:
    """What Prometheus would read."""
    path = f"/api/v1/namespaces/{MONITORING}/secrets/prometheus-campus"
    packed = plane.eventually(
        "the operator writes a configuration", lambda: plane.get(path)["data"]["prometheus.yaml.gz"]
    )
    return gzip.decompress(base64.b64decode(packed)).decode()


def test_prometheus_asks_the_hub_with_its_token(configuration: str) -> None:
    [job] = (job for job in yaml.safe_load(configuration)["scrape_configs"] if "/hub/" in job["job_name"])

    assert job["metrics_path"] == "/hub/metrics"
    assert job["authorization"] == {"type": "Bearer", "credentials": TOKEN}


def test_promtool_takes_the_configuration(configuration: str, promtool: Path, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yaml"
    file.write_text(configuration)
    done = subprocess.run(
        [promtool, "check", "config", "--syntax-only", file], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operator_hands_on_every_alert(plane: ControlPlane, configuration: str) -> None:
    assert "rules" in configuration
    path = f"/api/v1/namespaces/{MONITORING}/configmaps/prometheus-campus-rulefiles-0"
    found = plane.eventually("the operator writes the rules", lambda: plane.get(path).get("data"))
    rules = [rule for text in found.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]

    assert {rule["alert"] for rule in rules} == {alert.name for alert in alerts.ALERTS}
