"""How the `lyceum` command starts: at once, with what it needs and no more."""

import errno
import subprocess
import sys

import httpx
import pytest

from config.errors import LyceumError, UsageError
from config.paths import PROJECT
from ops.__main__ import COMMANDS, explain
from ops.lazy import import_target, read_summary
from tests.ops.objects import answered

HEAVY = {"pulumi", "pulumi_kubernetes", "pulumi_proxmoxve", "pulumi_command", "grpc"}
"""Packages that take half a second and more, and that only the program needs."""
RUN = """
import runpy, sys
try:
    runpy.run_module("ops", run_name="__main__")
finally:
    print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["--help"], 0, "Shows what `up` would do; changes nothing."),
        (["validate", "lab"], 0, "lab: no mistakes"),
        (["show", "lab"], 0, "The embedded campus"),
        (["status", "dev"], 1, "the lab `no-such-lab` is down"),
    ],
)
def test_a_command_that_only_reads_starts_without_pulumi(command: list[str], code: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        cwd=PROJECT,
        env={"PATH": "/usr/bin:/bin", "LYCEUM_LAB": "no-such-lab", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    said, _, imported = (done.stdout).rpartition("imported:")

    assert done.returncode == code, done.stderr
    assert says in said + done.stderr
    assert "ops" in imported.split(), "the list must be the list"
    assert HEAVY & set(imported.split()) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    found = import_target(COMMANDS[name])
    itself = found.info.help if hasattr(found, "info") else found.__doc__.partition("\n")[0]

    assert read_summary(COMMANDS[name]) == itself
    assert itself


def test_an_error_that_explains_itself_is_printed_with_its_remedy() -> None:
    assert explain(UsageError("no such site")) == "no such site"
    assert explain(LyceumError("no token", remedy="./lyceum secrets set")) == "no token; ./lyceum secrets set"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    assert explain(ValueError("a mistake of ours")) == ""
    assert explain(answered(404)) == "", "asking again would not help"


def test_a_full_disk_is_told_with_what_helps() -> None:
    full = explain(OSError(errno.ENOSPC, "No space left on device"))

    assert full.startswith("No space left on device. Free some space")


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), answered(500)], ids=["no-answer", "no-leader"])
def test_an_api_on_its_way_to_another_server_is_explained_with_a_remedy(error: Exception) -> None:
    assert "Run the same command again" in explain(error)


@pytest.mark.parametrize("command", [[], ["doctor"], ["backup"], ["backup", "now"]])
def test_help_names_the_command_that_people_type(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops", *command, "--help"], cwd=PROJECT, capture_output=True, text=True, check=False
    )

    assert "Usage: " + " ".join(["lyceum", *command]) in done.stdout


def test_a_command_that_is_not_there_is_answered_with_the_nearest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops", "validat"], cwd=PROJECT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "Did you mean 'validate'" in done.stderr
