"""The platform where its pods really run: what the boards ask, the real Prometheus answers. Told in order on one campus."""

from collections.abc import Iterator

import pytest

from components.platform import alerts as rules
from components.platform.dashboards import BOARDS
from tests.lab.life import canary
from tests.lab.life.canary import wait_until
from tests.support.monitoring import alerts, ask_prometheus, query
from tests.support.project import Project

pytestmark = pytest.mark.lab

SIMULATED = {
    "CPU used": "node-exporter stands in",
    "Memory used": "node-exporter stands in",
    "Disk used": "node-exporter stands in",
    "Time to start a server, 95 of 100": "nobody has started a server",
}
"""Panels that have no data in the lab, and why."""
WATCHED = {"apiserver", "kube-etcd", "kubelet", "kube-state-metrics", "nvidia-dcgm-exporter"}
"""Jobs with an address that answers."""


@pytest.fixture(scope="module")
def campus(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A campus with every layer, and real pods on the site's GPU workers."""
    with Project(tmp_path_factory.mktemp("campus") / "lyceum", real_nodes="gpu-1,gpu-2") as project:
        project.lyceum("up", "dev", "--yes")
        yield project


def test_prometheus_reads_what_the_monitors_name(campus: Project) -> None:
    def reads() -> bool:
        return {one["metric"]["job"] for one in query(campus, "up == 1")} >= WATCHED

    wait_until(reads, f"Prometheus reads {WATCHED}", 300)


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_has_data(campus: Project, board: str) -> None:
    wanted = {panel.title: panel.query for panel in BOARDS[board] if panel.title not in SIMULATED}

    for title, asked in wanted.items():
        wait_until(lambda asked=asked: query(campus, asked) != [], f"data in the panel `{title}`", 120)


def test_every_rule_is_evaluated_without_an_error(campus: Project) -> None:
    groups = ask_prometheus(campus, "rules")["groups"]
    health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    assert health.keys() >= {alert.name for alert in rules.ALERTS}
    assert {name for name, state in health.items() if state not in ("ok", "unknown")} == set()


def test_an_alert_reaches_alertmanager(campus: Project) -> None:
    wait_until(lambda: "Watchdog" in alerts(campus), "the alert that always fires", 120)


def test_the_operator_refuses_a_rule_that_cannot_be_evaluated(campus: Project) -> None:
    broken = {"alert": "Broken", "expr": "sum(up"}
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "broken", "namespace": "monitoring"},
        "spec": {"groups": [{"name": "broken", "rules": [broken]}]},
    }

    with pytest.raises(AssertionError, match="could not parse expression"):
        canary.apply(campus, rule)
