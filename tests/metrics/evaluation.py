"""Series in full from the few labels that a case names, and promtool's judgement on a query over them."""

import functools
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
MINUTES = 130
"""Length of a series that a case gives as one number, which is longer than every case looks back."""

Labels = dict[str, str]


@dataclass(frozen=True)
class Case:
    """One situation and what a query must make of it.

    Attributes:
        of: Title of the panel, or name of the alert.
        kind: `positive` (there is something to see) or `negative` (the query must not be misled).
        when: The situation, for a person.
        at: Time of the evaluation since the first sample, as Prometheus writes durations.
        series: Series with labels -> a number, or samples in promtool's notation, one a minute.
        gives: Labels -> value of a query's result, or summary of an alert.
    """

    of: str
    kind: str
    when: str
    at: str
    series: Mapping[str, Any]
    gives: Mapping[str, Any]


@functools.cache
def exporters() -> dict[str, Any]:
    """The table of metrics; see its first lines."""
    table: dict[str, Any] = yaml.safe_load((HERE / "exporters.yaml").read_text())
    return table


def exporter_of(metric: str) -> str:
    """Who exports a metric.

    Raises:
        LookupError: the table has no such metric.
    """
    for name, row in exporters().items():
        if metric in row["metrics"]:
            return str(name)
    raise LookupError(f"{metric}: exporters.yaml has no such metric; add it with what it was compared with")


def own_labels(metric: str) -> Labels:
    """Labels that the exporter itself gives a metric, with ordinary values; empty ones it gives only sometimes."""
    row = exporters()[exporter_of(metric)]
    return {**row["labels"], **row["metrics"][metric]}


def parse_labels(text: str) -> Labels:
    """The labels of `name{a="b"}`."""
    return dict(_LABEL.findall(text))


def full_series(text: str) -> str:
    """A series with all labels that Prometheus stores, from its name and those labels that matter.

    Raises:
        LookupError: the metric is unknown.
        ValueError: a label is one that neither the exporter nor the scraped address has.
    """
    metric, given = text.partition("{")[0], parse_labels(text)
    row = exporters()[exporter_of(metric)]
    known = {**row["target"], **own_labels(metric)}
    if strangers := given.keys() - known.keys():
        raise ValueError(f"{metric} has no label {', '.join(sorted(strangers))}; it has {', '.join(sorted(known))}")
    labels = known | given
    for _ in range(2):  # an ordinary value may name a label whose own value names another
        labels = {name: value.format_map(labels) for name, value in labels.items()}
    return metric + "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items() if value) + "}"


def read_cases(file: Path) -> Iterator[Case]:
    """The cases of one file of `cases/`."""
    for of, kinds in yaml.safe_load(file.read_text()).items():
        for kind, cases in kinds.items():
            for case in cases:
                yield Case(of, kind, case["when"], case.get("at", "60m"), case["series"], case["gives"])


def input_series(case: Case) -> list[dict[str, str]]:
    """The case's series as promtool reads them."""
    return [
        {"series": full_series(text), "values": f"{samples}x{MINUTES}" if isinstance(samples, int | float) else samples}
        for text, samples in case.series.items()
    ]


def run_promtool(promtool: Path, place: Path, test: dict[str, Any], rules: dict[str, Any] | None = None) -> str:
    """Has promtool judge one test.

    Args:
        promtool: The program.
        place: Directory for its files.
        test: One entry of `tests` (prometheus.io/docs, Unit Testing for Rules).
        rules: The rule file, if the test needs one.

    Returns:
        An empty text if it passed, else what promtool says.
    """
    files = []
    if rules is not None:
        (place / "rules.yaml").write_text(json.dumps(rules))
        files = ["rules.yaml"]
    suite = {"rule_files": files, "evaluation_interval": "1m", "tests": [{"interval": "1m", **test}]}
    (place / "test.yaml").write_text(json.dumps(suite))
    done = subprocess.run(
        [promtool, "test", "rules", place / "test.yaml"], capture_output=True, text=True, check=False, cwd=place
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
