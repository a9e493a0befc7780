"""What tests with the real engine share."""

from pathlib import Path

import pytest

from tests.support.engine import Project
from toolchain import environment


@pytest.fixture(scope="session", autouse=True)
def toolchain() -> None:
    """A missing toolchain is a failure with a remedy, never a silent skip."""
    try:
        environment.binary("pulumi")
    except environment.ToolchainMissingError as error:
        pytest.fail(str(error))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")
