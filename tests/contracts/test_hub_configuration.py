"""The lab's reading of the hub's values, held against what the real chart made of them."""

import json
from typing import Any

import pytest

from lab.charts.stand_in import load_catalog
from tests.contracts.hub_configuration import RECORD, read_stand_in

RECORDED: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def read() -> dict[str, Any]:
    """What the lab's reading makes of the values of the record."""
    [entry] = [entry for entry in load_catalog() if entry.name == "jupyterhub"]
    return read_stand_in(entry.values)


@pytest.mark.parametrize("section", sorted(RECORDED))
def test_every_trait_is_the_charts(section: str, read: dict[str, Any]) -> None:
    assert read[section] == RECORDED[section]


def test_nothing_is_set_that_the_chart_does_not_set(read: dict[str, Any]) -> None:
    assert read.keys() == RECORDED.keys()
