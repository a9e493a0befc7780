"""The set-up: does what is missing, says remedies, and knows when there is nothing to do."""

import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from toolchain import build, cache, debian, environment, parts, setup
from toolchain.console import Times, duration, step
from toolchain.programs import programs


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (12.4, "12 s"), (240, "4 min 0 s"), (59.7, "1 min 0 s")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_step_tells_what_it_took_now_and_last_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = Times(tmp_path / "times.json")
    times.record("kube", 240)
    with step("kube", times):
        pass
    said = capsys.readouterr().out
    assert "took 4 min 0 s last time" in said
    assert "done in " in said
    assert times.last("kube") != 240


def test_a_step_that_fails_says_no_done_and_keeps_the_old_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = Times(tmp_path / "times.json")
    times.record("kube", 240)
    with pytest.raises(ZeroDivisionError), step("kube", times):
        raise ZeroDivisionError
    assert "done" not in capsys.readouterr().out
    assert times.last("kube") == 240


def test_a_damaged_record_of_times_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "times.json").write_text("{")
    assert Times(tmp_path / "times.json").last("kube") is None


def test_new_pins_make_the_virtual_environment_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setup.REQUIREMENTS:
        (tmp_path / name).write_text("one==1\n")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    monkeypatch.setattr(setup, "PROJECT", tmp_path)
    monkeypatch.setattr(setup, "VENV", tmp_path / "venv")
    monkeypatch.setattr(setup, "STAMP", tmp_path / "venv" / "stamp")
    assert not setup.environment_is_current(), "an environment that was never filled to the end"
    (tmp_path / "venv" / "stamp").write_text(setup.requirements_hash())
    assert setup.environment_is_current()
    (tmp_path / "requirements.txt").write_text("one==2\n")
    assert not setup.environment_is_current()


def test_missing_debian_packages_are_only_named_without_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "PACKAGES", {"no-such-package": "no-such-program"})
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    debian.install_missing()
    assert "no-such-package" in capsys.readouterr().out


def test_a_browser_is_named_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    debian.install_missing({"chromium": "no-such-browser"})
    assert "chromium" in capsys.readouterr().out
    assert "chromium" not in debian.PACKAGES


def test_nothing_is_said_or_done_when_every_program_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "PACKAGES", {"coreutils": "ls", "passwd": "/etc/passwd"})
    debian.install_missing()
    assert capsys.readouterr().out == ""


def test_a_missing_toolchain_is_reported_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "BINARIES", tmp_path)
    with pytest.raises(environment.ToolchainMissingError, match="Remedy: make setup"):
        environment.binary("pulumi")


def test_a_missing_program_of_a_real_node_has_the_remedy_of_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = replace(programs()[0], name="node", binaries=("kubelet",), part="pods")
    monkeypatch.setattr(environment, "BINARIES", tmp_path)
    monkeypatch.setattr(parts, "programs", lambda: (*programs(), node))
    with pytest.raises(environment.ToolchainMissingError, match="Remedy: make lab-programs"):
        environment.binary("kubelet")


def test_make_setup_installs_what_every_command_needs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    node = replace(programs()[0], name="node", binaries=("kubelet",), part="pods")
    wanted: list[str] = []
    monkeypatch.setattr(build, "programs", lambda: (*programs(), node))
    monkeypatch.setattr(build, "ensure_programs", lambda chosen, **_: wanted.extend(one.name for one in chosen))
    monkeypatch.setattr(build, "link_cached", lambda: None)
    assert build.main([]) == 0
    assert wanted == [one.name for one in programs() if one.part == "core"]
    wanted.clear()
    assert build.main(["--part", "pods"]) == 0
    assert wanted == [one.name for one in (*programs(), node) if one.part == "pods"]


def test_a_part_that_another_clone_has_built_is_linked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked: list[bool] = []
    monkeypatch.setattr(build, "PROJECT", tmp_path)
    monkeypatch.setattr(build, "missing_programs", lambda *_, **__: [])
    monkeypatch.setattr(build, "link_cached", lambda: linked.append(True))
    parts.ensure("core")
    assert linked == [True]


def test_an_unknown_program_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build.main(["kubectl"])
    assert "known: pulumi, command, kube" in capsys.readouterr().err


def test_a_second_set_up_takes_no_time() -> None:
    """Every `make` target begins with it."""
    if parts.missing("core") or not setup.environment_is_current() or debian.missing_packages():
        pytest.fail("this machine is not set up. Remedy: make setup")
    before = _cpu_seconds()
    run = subprocess.run(
        [sys.executable, "-m", "toolchain.setup"], cwd=setup.PROJECT, capture_output=True, text=True, check=True
    )
    assert "ready" in run.stdout
    assert _cpu_seconds() - before < 5, "it takes half a second of a processor"


def _cpu_seconds() -> float:
    """What ended children took of a processor: how long they took depends on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_new_set_up_waits_for_the_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path))
    with cache.exclusive_lock():
        other = subprocess.Popen(
            [sys.executable, "-c", "from toolchain import cache\nwith cache.exclusive_lock(): pass"],
            cwd=setup.PROJECT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout
        assert "waiting for another set-up" in other.stdout.readline()
    assert other.wait(10) == 0
    other.stdout.close()
