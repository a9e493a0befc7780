"""What the demo proposes works as printed, on a machine that has nothing but the demo."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from config.paths import PROJECT
from config.site import STAGES
from ops.__main__ import app
from ops.demo import NEXT
from ops.engine.stack import Stack
from tests.support.command_line import parse

LYCEUM = [shlex.split(command)[1:] for command, _ in NEXT if command.startswith("./lyceum ")]


@pytest.mark.parametrize("words", LYCEUM, ids=" ".join)
def test_a_proposed_command_is_one_that_the_command_line_knows(words: list[str]) -> None:
    parameters = parse(list(words))

    assert parameters.get("stage") in {None, *STAGES}


@pytest.mark.parametrize("words", LYCEUM, ids=" ".join)
def test_a_proposed_command_asks_for_no_passphrase(words: list[str]) -> None:
    """Only the stacks of simulated sites have one that is no secret; any other stack asks for its own."""
    stack = parse(list(words)).get("stack")

    assert stack is None or Stack(str(stack)).site.simulated


def test_the_proposed_site_can_be_shown() -> None:
    [words] = [words for words in LYCEUM if words[0] == "show"]
    result = CliRunner().invoke(app, words)

    assert result.exit_code == 0, result.output


def test_everything_else_is_a_target_of_make() -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)

    for command, _ in NEXT:
        program, *words = command.split()
        assert program == "./lyceum" or (program == "make" and words[0] in targets)
