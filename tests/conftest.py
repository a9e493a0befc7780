"""What holds for every test."""

from typing import Any

import pytest
from hypothesis import settings

from tests.contracts.upstream import MISSING
from tests.support.rings import LongestFirst, longest_first, measure, note_rings, table

# A time limit for one example measures the machine, not the code; the same examples every time make a failure repeatable.
settings.register_profile("lyceum", deadline=None, derandomize=True)
settings.load_profile("lyceum")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    note_rings(items)
    longest_first(items, config.rootpath)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report for group in terminalreporter.stats.values() for report in group if isinstance(report, pytest.TestReport)
    ]
    if rings := measure(reports):
        terminalreporter.section("what each ring took")
        for line in table(rings):
            terminalreporter.line(line)
    if lost := sum(MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.line(f"{lost} contract tests were skipped: {MISSING}", red=True)
