"""Stand-ins beside real archives at every site; only where a directory of them is given (docs/charts.md).

LYCEUM_CHARTS=DIR .venv/bin/pytest tests/contracts/test_real_charts.py
"""

import os
from pathlib import Path

import pytest

from config.versions import CHARTS
from lab.charts.archive import build_stand_ins
from lab.charts.stand_in import load_catalog
from tests.contracts.refresh import releases, render
from tests.contracts.shapes import compare_shapes, find_shape
from tests.support.helm import Helm
from tests.support.program import ALL_SITES

DIRECTORY = Path(os.environ.get("LYCEUM_CHARTS", ""))
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif("LYCEUM_CHARTS" not in os.environ, reason="LYCEUM_CHARTS names no directory of real archives"),
]


@pytest.mark.parametrize("site", ALL_SITES)
def test_a_stand_in_makes_what_its_real_chart_makes_at_every_site(site: str, tmp_path: Path) -> None:
    entries = {entry.name: entry for entry in load_catalog()}
    found = {}
    with Helm() as helm:
        for stand_in in build_stand_ins():
            chart = stand_in.name
            real = DIRECTORY / f"{chart}-{CHARTS[chart].version}.tgz"
            if chart not in releases(site) or not real.exists():
                continue
            ours = tmp_path / stand_in.file
            ours.write_bytes(stand_in.data)
            namespace = releases(site)[chart].inputs["namespace"]
            shapes = [find_shape(render(helm, path, chart, site), namespace) for path in (real, ours)]
            if lines := compare_shapes(entries[chart], *shapes):
                found[chart] = lines

    assert found == {}
