"""The file backend's state after a kill in the middle of a write (fault matrix E3)."""

from pathlib import Path

import pytest

from ops.engine import file_backend
from tests.support.engine import Project

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("cut", ["", '{"user.cache_con'], ids=["empty", "half"])
def test_a_state_whose_attributes_were_cut_off_is_read_again(tmp_path: Path, cut: str) -> None:
    """The engine says that it knows no stack, and a command that believed it would begin a new one."""
    project = Project(tmp_path)
    project.up()
    attributes = tmp_path / "state/.pulumi/stacks/test/test.json.attrs"
    assert attributes.exists(), "the engine still writes them"
    attributes.write_text(cut)
    project.pulumi("stack", "export", fails=True)

    file_backend.remove_truncated_attributes(tmp_path / "state")

    assert '"urn:pulumi:test::test::pulumi:pulumi:Stack::test-test"' in project.state()


def test_a_stack_is_found_where_the_engine_keeps_it(tmp_path: Path) -> None:
    """Asking the engine for its stacks would take half a second of every command."""
    Project(tmp_path)

    assert file_backend.has_stack(tmp_path / "state", "test", "test")
    assert not file_backend.has_stack(tmp_path / "state", "test", "another")
    assert not file_backend.has_stack(tmp_path / "state", "another", "test")


def test_what_is_whole_stays(tmp_path: Path) -> None:
    Project(tmp_path)
    before = sorted(tmp_path.rglob("*.attrs"))

    file_backend.remove_truncated_attributes(tmp_path / "state")

    assert before
    assert sorted(tmp_path.rglob("*.attrs")) == before


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///srv/a%20campus?metadata=skip", Path("/srv/a campus")),
        ("file://~/state", Path.home() / "state"),
        ("s3://bucket/state", None),
    ],
)
def test_only_a_file_backend_has_a_directory(url: str, path: Path | None) -> None:
    assert file_backend.backend_directory(url) == path
