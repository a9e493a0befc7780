"""What an operator can type: every command, its arguments and options. A change of them is a change that somebody reads."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.models import CommandInfo

from ops.__main__ import COMMANDS
from ops.lazy import import_target
from tests.support import golden


def described(name: str, command: Any) -> Iterator[str]:
    """A command's line, and one for each thing that it takes."""
    yield name
    for parameter in command.params:
        spelled = " ".join([*parameter.opts, *parameter.secondary_opts])
        required = " required" if parameter.required else ""
        repeated = " repeated" if getattr(parameter, "multiple", False) or parameter.nargs != 1 else ""
        yield f"  {parameter.param_type_name} {spelled}{required}{repeated}"


def commands() -> Iterator[str]:
    for name, target in COMMANDS.items():
        found = import_target(target)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            for inner, command in sorted(group.commands.items()):
                if f"{name} {inner}" in COMMANDS:
                    continue  # a command that was run in this process has been added to its group
                yield from described(f"{name} {inner}", command)
        else:
            app = typer.Typer(add_completion=False)
            app.registered_commands.append(CommandInfo(callback=found))
            yield from described(name, typer.main.get_command(app))


def test_commands_and_their_options_change_only_on_purpose() -> None:
    """Runbooks, timers and people's fingers know them."""
    golden.check("commands.txt", "\n".join(commands()) + "\n")
