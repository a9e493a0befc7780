"""The Python language host under the real engine: what a user of the official host would see."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.engine import Project
from toolchain import environment

pytestmark = pytest.mark.engine


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process is there and is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_sees_its_configuration_and_its_stack(project: Project) -> None:
    project.program("""
        import pulumi
        config = pulumi.Config()
        pulumi.export("greeting", config.require("greeting"))
        pulumi.export("password", config.require_secret("password"))
        pulumi.export("where", f"{pulumi.get_project()}/{pulumi.get_stack()}/{pulumi.runtime.is_dry_run()}")
    """)
    project.pulumi("config", "set", "greeting", "good day")
    project.pulumi("config", "set", "--secret", "password", "open sesame")
    project.up()
    assert project.outputs() == {"greeting": "good day", "password": "open sesame", "where": "test/test/False"}
    assert "open sesame" not in project.state(), "a secret of the configuration stays a secret in the state"


def test_a_program_runs_in_the_virtual_environment_that_the_project_names(project: Project) -> None:
    project.program("""
        import os, sys, pulumi
        pulumi.export("interpreter", [sys.prefix, os.environ["VIRTUAL_ENV"]])
    """)
    project.up()
    assert project.outputs() == {"interpreter": [sys.prefix, sys.prefix]}


def test_a_missing_virtual_environment_is_named(project: Project, tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing")
    (project.directory / "Pulumi.yaml").write_text(
        json.dumps({"name": "test", "runtime": {"name": "python", "options": {"virtualenv": missing}}})
    )
    assert missing in project.preview(fails=True).output


def test_an_unknown_toolchain_is_refused_with_the_known_ones(project: Project) -> None:
    (project.directory / "Pulumi.yaml").write_text(
        json.dumps({"name": "test", "runtime": {"name": "python", "options": {"toolchain": "conda"}}})
    )
    assert "pip, poetry or uv" in project.preview(fails=True).output


def test_an_exception_ends_the_run_with_the_programs_own_traceback(project: Project) -> None:
    project.program("""
        def divide():
            return 1 / 0
        divide()
    """)
    output = project.preview(fails=True).output
    assert "Program failed with an unhandled exception" in output
    assert "ZeroDivisionError: division by zero" in output
    assert "line 3, in divide" in output
    assert "runpy" not in output, "frames of the machinery only hide the user's own"


def test_a_run_error_is_shown_as_one_message_without_a_traceback(project: Project) -> None:
    project.program("""
        import pulumi
        raise pulumi.RunError("hosts[3].gpus: no such card")
    """)
    output = project.preview(fails=True).output
    assert "error: hosts[3].gpus: no such card" in output
    assert "Traceback" not in output


def test_a_program_that_exits_badly_is_reported_with_its_code(project: Project) -> None:
    project.program("""
        import os
        os._exit(7)
    """)
    assert "Program exited with non-zero exit code: 7" in project.preview(fails=True).output


def test_what_a_program_prints_is_shown(project: Project) -> None:
    project.program("""
        import sys
        print("to the left")
        print("to the right", file=sys.stderr)
    """)
    output = project.preview().output
    assert "to the left" in output
    assert "to the right" in output


def test_the_engine_takes_the_projects_own_plugins_without_a_word(project: Project) -> None:
    project.program("""
        from pulumi_command import local
        local.Command("one", create="true")
    """)
    assert "warning" not in project.preview().output


def test_the_host_tells_which_interpreter_and_which_packages_a_program_has(project: Project) -> None:
    about = json.loads(project.pulumi("about", "--json").output)
    assert about["runtime"]["language"] == "python"
    assert about["runtime"]["executable"] == str(Path(sys.prefix) / "bin" / "python")
    assert "pulumi-command" in {dependency["name"] for dependency in about["dependencies"]}


def test_install_makes_the_virtual_environment_that_is_missing(project: Project) -> None:
    (project.directory / "Pulumi.yaml").write_text(
        json.dumps({"name": "test", "runtime": {"name": "python", "options": {"virtualenv": "fresh"}}})
    )
    (project.directory / "requirements.txt").write_text("")
    project.pulumi("install")
    assert (project.directory / "fresh" / "bin" / "python").exists()


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_program_ends_with_the_engine_and_without_a_traceback(
    project: Project, tmp_path: Path, wanted: signal.Signals
) -> None:
    marker = tmp_path / "pid"
    project.program(f"""
        import os, time
        open({str(marker)!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    """)
    with project.start("preview") as engine:
        wait_for(lambda: marker.exists() and marker.read_text() != "", "the program's start")
        engine.send_signal(wanted)
        started = time.monotonic()
        output, _ = engine.communicate(timeout=300)
    assert time.monotonic() - started < 240, "the engine waits for nobody; the program sleeps ten minutes"
    assert "Traceback" not in output
    wait_for(lambda: not runs(int(marker.read_text())), "the program's end")


def test_nothing_outlives_an_engine_that_was_killed(project: Project, tmp_path: Path) -> None:
    marker = tmp_path / "pids"
    project.program(f"""
        import os, time
        open({str(marker)!r}, "w").write(f"{{os.getpid()}} {{os.getppid()}}\\n")
        time.sleep(600)
    """)
    with project.start("preview") as engine:
        wait_for(lambda: marker.exists() and marker.read_text().endswith("\n"), "the program's start")
        engine.send_signal(signal.SIGKILL)
        engine.wait()
        program, host = map(int, marker.read_text().split())
        wait_for(lambda: not runs(host), "the host's end")
        wait_for(lambda: not runs(program), "the program's end")


def test_the_host_explains_itself_when_started_by_hand() -> None:
    run = subprocess.run([environment.binary("pulumi-language-python")], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert re.search(r"started by pulumi, not by hand", run.stderr)
