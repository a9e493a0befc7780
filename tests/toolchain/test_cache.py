"""The toolchain's cache: entries that are whole or absent, and a project's links into it."""

import json
import os
from pathlib import Path

import pytest

from toolchain import cache
from toolchain.programs import BuildWorkspace, Program


def nothing(shop: BuildWorkspace) -> None:
    """A recipe for programs that these tests never build."""


def program(name: str = "kwok", version: str = "0.8.0", binaries: tuple[str, ...] = ("kwok",)) -> Program:
    return Program(
        name=name, version=version, module="kwok", sources=(), binaries=binaries, build=nothing, cold_minutes=1
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    cache.cache_root().mkdir(parents=True)
    return cache.cache_root()


def publish(one: Program, content: str = "#!/bin/true") -> Path:
    with cache.scratch_directory(one) as place:
        (place / "results").mkdir()
        for binary in one.binaries:
            (place / "results" / binary).write_text(content)
        cache.publish_entry(one, place / "results", "built")
    return cache.entry_path(one)


def test_a_published_program_is_sound_and_executable() -> None:
    entry = publish(program())
    assert cache.is_intact(entry)
    assert os.access(entry / "bin" / "kwok", os.X_OK)


def test_an_absent_entry_is_not_sound() -> None:
    assert not cache.is_intact(cache.entry_path(program()))


def test_another_version_is_another_entry() -> None:
    assert cache.entry_path(program(version="0.8.0")) != cache.entry_path(program(version="0.8.1"))


def test_changed_sources_are_another_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "kwok"
    module.mkdir()
    (module / "go.mod").write_text("module a")
    (module / "go.sum").write_text("")
    monkeypatch.setattr(cache, "HERE", tmp_path)
    before = cache.entry_key(program())
    (module / "go.sum").write_text("something else")
    assert cache.entry_key(program()) != before


def test_a_truncated_binary_makes_an_entry_unsound() -> None:
    entry = publish(program())
    (entry / "bin" / "kwok").write_text("#!")
    assert not cache.is_intact(entry)


def test_a_binary_that_was_changed_in_place_makes_an_entry_unsound() -> None:
    entry = publish(program(), "one")
    (entry / "bin" / "kwok").write_text("two")
    assert not cache.is_intact(entry), "same size, another time: the hash decides"


def test_a_change_that_hides_its_time_is_found_by_a_thorough_look() -> None:
    entry = publish(program(), "one")
    binary = entry / "bin" / "kwok"
    before = binary.stat()
    binary.write_text("two")
    os.utime(binary, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.is_intact(entry), "the quick look cannot see this, by design"
    assert not cache.is_intact(entry, thorough=True)


@pytest.mark.parametrize("manifest", ["", "[]", '{"files": {}}', '{"files": {"kwok": {}}}'])
def test_a_damaged_manifest_makes_an_entry_unsound(manifest: str) -> None:
    entry = publish(program())
    (entry / "manifest.json").write_text(manifest)
    assert not cache.is_intact(entry)


def test_publishing_again_mends_a_damaged_entry() -> None:
    entry = publish(program())
    (entry / "bin" / "kwok").unlink()
    publish(program())
    assert cache.is_intact(entry)


def test_a_build_that_fails_leaves_nothing_in_the_cache(own_cache: Path) -> None:
    with pytest.raises(ZeroDivisionError), cache.scratch_directory(program()) as place:
        (place / "half").write_text("")
        raise ZeroDivisionError
    assert list(own_cache.iterdir()) == []


def test_what_a_killed_build_left_is_cleared_by_the_next(own_cache: Path) -> None:
    (own_cache / ".making-kwok-123").mkdir()
    with cache.exclusive_lock():
        assert not (own_cache / ".making-kwok-123").exists()


def test_the_manifest_says_where_a_program_came_from() -> None:
    entry = publish(program())
    assert json.loads((entry / "manifest.json").read_text())["origin"] == "built"
    assert cache.read_origin(program()) == "built"


def test_a_project_gets_its_binaries_and_plugins_where_pulumi_looks(tmp_path: Path) -> None:
    plugin = program("command", "1.2.1", ("pulumi-resource-command",))
    entry = publish(plugin)
    cache.link_programs(tmp_path / "links", (plugin,))
    home = tmp_path / "links" / "pulumi" / "plugins" / "resource-command-v1.2.1" / "pulumi-resource-command"
    assert home.samefile(entry / "bin" / "pulumi-resource-command")
    binary = tmp_path / "links" / "bin" / "pulumi-resource-command"
    assert binary.is_file()
    assert not binary.is_symlink(), "hosts of the lab see this directory without the cache"


def test_a_cache_on_another_file_system_is_copied_from_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    publish(program())
    cache.link_programs(tmp_path, (program(),))
    before = (tmp_path / "bin" / "kwok").stat()
    cache.link_programs(tmp_path, (program(),))
    assert (tmp_path / "bin" / "kwok").stat().st_ino == before.st_ino


def test_a_new_version_takes_the_place_of_the_former(tmp_path: Path) -> None:
    former, current = (program("command", version, ("pulumi-resource-command",)) for version in ("1.2.0", "1.2.1"))
    publish(former, "former")
    publish(current, "current")
    cache.link_programs(tmp_path, (former,))
    cache.link_programs(tmp_path, (current,))
    assert (tmp_path / "bin" / "pulumi-resource-command").read_text() == "current"
    assert [place.name for place in (tmp_path / "pulumi" / "plugins").iterdir()] == ["resource-command-v1.2.1"]


def test_results_that_are_no_programs_are_kept_and_checked_too(own_cache: Path) -> None:
    chart = Program(
        name="kueue", version="0.19.2", module="kwok", sources=(), binaries=("kueue",), data=("charts/kueue.tgz",),
        build=nothing, cold_minutes=1,
    )  # fmt: skip
    with cache.scratch_directory(chart) as place:
        (place / "results" / "charts").mkdir(parents=True)
        (place / "results" / "kueue").write_text("#!/bin/true")
        (place / "results" / "charts" / "kueue.tgz").write_bytes(b"chart")
        cache.publish_entry(chart, place / "results", "built")
    entry = cache.entry_path(chart)
    assert (entry / "charts" / "kueue.tgz").read_bytes() == b"chart"
    assert cache.is_intact(entry)
    (entry / "charts" / "kueue.tgz").unlink()
    assert not cache.is_intact(entry)
