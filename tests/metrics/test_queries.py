"""Every query of every panel and alert, evaluated by the real promtool over what the exporters really give."""

from collections import Counter
from pathlib import Path

import pytest

from components.platform import alerts, dashboards
from config.paths import PROJECT
from tests.metrics.evaluation import (
    HERE,
    NAME,
    Case,
    exporter_of,
    exporters,
    input_series,
    parse_labels,
    read_cases,
    run_promtool,
)

PANELS = {panel.title: panel.query for panels in dashboards.BOARDS.values() for panel in panels}
ALERTS = {alert.name: alert for alert in alerts.ALERTS}
CASES = [case for file in sorted((HERE / "cases").glob("*.yaml")) for case in read_cases(file)]
METRICS = {metric for row in exporters().values() for metric in row["metrics"]}


def identify(case: Case) -> str:
    return f"{case.of}: {case.when}"


@pytest.mark.engine
@pytest.mark.parametrize("case", [case for case in CASES if case.of in PANELS], ids=identify)
def test_a_panel_shows_what_it_says(case: Case, promtool: Path, tmp_path: Path) -> None:
    expected = [{"labels": labels, "value": value} for labels, value in case.gives.items()]
    query = {"expr": PANELS[case.of], "eval_time": case.at, "exp_samples": expected}

    assert run_promtool(promtool, tmp_path, {"input_series": input_series(case), "promql_expr_test": [query]}) == ""


@pytest.mark.engine
@pytest.mark.parametrize("case", [case for case in CASES if case.of in ALERTS], ids=identify)
def test_an_alert_fires_when_it_should_and_says_why(case: Case, promtool: Path, tmp_path: Path) -> None:
    expected = [
        {
            "exp_labels": parse_labels(labels) | {"severity": ALERTS[case.of].severity},
            "exp_annotations": {"summary": summary},
        }
        for labels, summary in case.gives.items()
    ]
    test = {"alertname": case.of, "eval_time": case.at, "exp_alerts": expected}

    said = run_promtool(
        promtool, tmp_path, {"input_series": input_series(case), "alert_rule_test": [test]}, alerts.rule_spec()
    )

    assert said == ""


@pytest.mark.engine
def test_a_wrong_expectation_is_noticed(promtool: Path, tmp_path: Path) -> None:
    """The judge itself: a harness that finds nothing would find every query good."""
    case = next(case for case in CASES if case.of == "Temperature")
    query = {"expr": PANELS[case.of], "eval_time": case.at, "exp_samples": []}

    said = run_promtool(promtool, tmp_path, {"input_series": input_series(case), "promql_expr_test": [query]})

    assert "FAILED" in said


@pytest.mark.parametrize("name", [*PANELS, *ALERTS])
def test_every_query_has_a_case_with_something_to_see_and_one_that_could_mislead_it(name: str) -> None:
    assert {case.kind for case in CASES if case.of == name} == {"positive", "negative"}


def test_no_case_is_of_a_query_that_is_gone() -> None:
    assert {case.of for case in CASES} - PANELS.keys() - ALERTS.keys() == set()


def test_titles_and_names_are_unique() -> None:
    every = [panel.title for panels in dashboards.BOARDS.values() for panel in panels]
    every += [alert.name for alert in alerts.ALERTS]

    assert [name for name, count in Counter(every).items() if count > 1] == []


@pytest.mark.parametrize("query", [*PANELS.values(), *(alert.query for alert in ALERTS.values())])
def test_a_query_asks_only_for_metrics_whose_exporter_is_known(query: str) -> None:
    prefixes = ("DCGM_", "kube_", "kubelet_", "etcd_", "node_", "jupyterhub_")
    asked = {word for word in NAME.findall(query) if word.startswith(prefixes)} | ({"up"} if "up{" in query else set())

    assert asked, "a query of nothing"
    for metric in asked:
        exporter_of(metric)


def test_the_table_has_nothing_that_nobody_asks_for() -> None:
    every = " ".join([*PANELS.values(), *(alert.query for alert in ALERTS.values())])

    assert METRICS - set(NAME.findall(every)) == set()


def test_the_page_for_operators_says_what_to_do_about_each_alert() -> None:
    page = (PROJECT / "docs" / "operations" / "alerts.md").read_text()

    assert [name for name in ALERTS if f"| `{name}` |" not in page] == []
