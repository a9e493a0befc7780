"""Grafana's dashboards: valid and complete for R29. What their queries give is shown in tests/metrics."""

import json
import re

import pytest

from components.platform import dashboards, gpus

BOARDS = sorted(dashboards.BOARDS)
QUERIES = [panel.query for panels in dashboards.BOARDS.values() for panel in panels]


@pytest.mark.parametrize("title", BOARDS)
def test_a_dashboard_is_a_file_that_grafana_can_read(title: str) -> None:
    board = json.loads(dashboards.dashboard_files()[f"{title.lower().replace(' ', '-')}.json"])

    assert board["title"] == title
    assert len(board["uid"]) <= 40, "Grafana's limit"
    assert [panel["title"] for panel in board["panels"]] == [panel.title for panel in dashboards.BOARDS[title]]


@pytest.mark.parametrize("title", BOARDS)
def test_panels_do_not_lie_on_each_other(title: str) -> None:
    places = [panel["gridPos"] for panel in dashboards.dashboard_model(title)["panels"]]

    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert max(place["x"] + place["w"] for place in places) <= 24, "Grafana's grid has 24 columns"


@pytest.mark.parametrize("title", BOARDS)
def test_every_panel_asks_something(title: str) -> None:
    for panel in dashboards.dashboard_model(title)["panels"]:
        [target] = panel["targets"]

        assert target["expr"].strip()
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_the_titles_of_r29_are_there() -> None:
    assert {"GPU utilisation", "GPU health", "JupyterHub activity", "Cluster overview"} <= set(BOARDS)


@pytest.mark.parametrize(
    "asked",
    ["GPU_UTIL", "FB_USED", "GPU_TEMP", "POWER_USAGE", "PCIE_RX_BYTES", "PCIE_TX_BYTES", "SM_CLOCK", "REMAPPED_ROWS"],
)
def test_everything_that_r29_names_about_a_card_is_shown(asked: str) -> None:
    assert [query for query in QUERIES if asked in query]


def test_only_what_counts_up_is_asked_for_its_rate() -> None:
    """The rate of a gauge is noise; the exporter's PCIe values are rates already."""
    kinds = {name: kind for name, kind, _ in gpus.FIELDS}
    rated = {name for query in QUERIES for name in re.findall(r"(?:rate|increase)\((DCGM_\w+)", query)}

    assert [name for name in rated if kinds[name] != "counter"] == []
