"""Files that a killed command must not leave half."""

import os
from pathlib import Path

import pytest

from ops.engine.stack import Stack
from ops.files import PRIVATE, write_atomically


class CutError(Exception):
    """Stands for a kill at the worst moment: written, and not yet in its place."""


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise CutError

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_private_file_is_its_owners_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "secret"
    write_atomically(target, "one\n", PRIVATE)
    write_atomically(target, "two\n", PRIVATE)

    assert target.read_text() == "two\n"
    assert target.stat().st_mode & 0o777 == PRIVATE
    assert [path.name for path in target.parent.iterdir()] == ["secret"]


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "site.yaml"
    target.write_text("one")
    target.chmod(0o640)
    write_atomically(target, "two")

    assert (target.read_text(), target.stat().st_mode & 0o777) == ("two", 0o640)


@pytest.mark.usefixtures("cut")
def test_a_write_that_is_cut_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "note.json"
    target.write_text("whole")
    with pytest.raises(CutError):
        write_atomically(target, "half a no")

    assert target.read_text() == "whole"


@pytest.mark.usefixtures("cut")
def test_a_stack_whose_setting_is_cut_off_keeps_the_salt_of_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.engine.stack.PROJECT", tmp_path)
    before = "encryptionsalt: v1:salt\nconfig:\n  lyceum:site: lab\n  lyceum:stage: alpha\n"
    (tmp_path / "Pulumi.dev.yaml").write_text(before)
    with pytest.raises(CutError):
        Stack("dev").set_stage("beta")

    assert (tmp_path / "Pulumi.dev.yaml").read_text() == before
