"""Commands that are imported when they are called: half of them import Pulumi, which takes a second."""

import ast
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


def import_target(target: str) -> Any:
    """The object that `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def read_summary(target: str) -> str:
    """First line of the description of `module:name`, read without running the module.

    A function has it in its docstring, a `typer.Typer` in its `help`.
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


class LazyGroup(TyperGroup):
    """A group whose commands are a function or a `typer.Typer` each.

    Attributes:
        targets: Name -> `module:name`; `group name` adds a command to one of these groups that the group's own module does
            not know.
    """

    targets: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: TyperCommand(name) for name in self.targets if " " not in name}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """What the list of commands shows; one that is called is imported by `resolve_command`."""
        return TyperCommand(cmd_name, help=read_summary(self.targets[cmd_name])) if cmd_name in self.commands else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Imports the command that is called."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, _import_command(str(name), self.targets), rest


def _import_command(name: str, targets: Mapping[str, str]) -> Any:
    """The command of click behind a name."""
    found = import_target(targets[name])
    if not isinstance(found, typer.Typer):
        return _function_command(name, found)
    group = get_group(found)
    group.name = name
    for path, target in targets.items():
        if path.startswith(f"{name} "):
            added = path.removeprefix(f"{name} ")
            group.add_command(_function_command(added, import_target(target)), added)
    return group


def _function_command(name: str, function: Callable[..., None]) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command(name)(function)
    return get_command(app)
