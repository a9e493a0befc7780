"""One campus for the whole of this directory: its tests are a story, told in order."""

from collections.abc import Iterator

import pytest

from tests.support.project import Project


@pytest.fixture(scope="module")
def campus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a running, empty campus."""
    with Project(tmp_path_factory.mktemp("campus") / "lyceum") as project:
        yield project
