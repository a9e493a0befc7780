"""promtool, built when a test first asks for it."""

from pathlib import Path

import pytest

from tests.support.programs import install


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The promtool of the Prometheus that the chart installs."""
    return install("prometheus", "promtool")
