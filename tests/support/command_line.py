"""The parser of the `lyceum` command, without running a command."""

from typing import Any

import typer

from ops.__main__ import app


def parse(words: list[str]) -> dict[str, Any]:
    """Parameters that a command gets from these words (`["up", "dev", "--yes"]`).

    Raises:
        Exception: typer's own click's `UsageError`, where the command line does not know them.
    """
    group: Any = typer.main.get_group(app)
    context: Any = typer.Context(group)
    while True:
        name, command, words = group.resolve_command(context, list(words))
        context = command.make_context(name, words, parent=context)
        if not isinstance(command, typer.core.TyperGroup):
            return dict(context.params)
        group, words = command, [*context._protected_args, *context.args]


def find_mistake(words: list[str]) -> str:
    """What the command line does not accept in these words; empty where it accepts them, if need be with more arguments."""
    try:
        parse(words)
    except typer.Exit:  # --help
        return ""
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return "" if type(error).__name__ in {"MissingParameter", "NoArgsIsHelpError"} else str(error.format_message())
    return ""
