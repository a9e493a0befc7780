"""Commands that are imported when they are called: half of them bring Pulumi along, and a second of start-up."""

import ast
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


def load(target: str) -> Any:
    """What `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def summary(target: str) -> str:
    """First line of what `module:name` says of itself, read without running the module.

    A function says it in its docstring, a `typer.Typer` in its `help`.
    """
    module, _, name = target.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    for node in ast.parse(Path(spec.origin).read_text()).body:
        match node:
            case ast.FunctionDef(name=found) if found == name:
                return (ast.get_docstring(node) or "").partition("\n")[0]
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Call(keywords=words)) if found == name:
                [said] = [word.value for word in words if word.arg == "help"]
                return str(ast.literal_eval(said))
    raise AttributeError(target)


def commands(targets: Mapping[str, str]) -> type[TyperGroup]:
    """A group whose commands are a function or a `typer.Typer` each, given as name -> `module:name`.

    `group name` adds a command to one of these groups that the group's own module does not know.
    """

    class Lazy(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = {name: TyperCommand(name) for name in targets if " " not in name}

        def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
            """What stands in the list of commands; one that is called is looked up below."""
            return TyperCommand(cmd_name, help=summary(targets[cmd_name])) if cmd_name in self.commands else None

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, _, rest = super().resolve_command(ctx, args)
            return name, _called(str(name), targets), rest

    return Lazy


def _called(name: str, targets: Mapping[str, str]) -> Any:
    """The command of click behind a name."""
    found = load(targets[name])
    if isinstance(found, typer.Typer):
        for path in targets:
            if path.startswith(f"{name} "):
                found.command(path.removeprefix(f"{name} "))(load(targets[path]))
        command: Any = get_group(found)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
        alone.command()(found)
        command = get_command(alone)
    command.name = name
    return command
