"""Errors travel as exceptions up to the command line, and facts as data: nothing ends the process on the way, nothing parses our own texts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.paths import PROJECT
from ops.__main__ import COMMANDS

COMMAND_LINES = {
    "ops/__main__.py",
    "lab/cli.py",
    "lab/k3s/cli.py",
    *(f"{target.partition(':')[0].replace('.', '/')}.py" for target in COMMANDS.values()),
}
"""Modules that hold commands. Everything else raises; a script's own `if __name__ == "__main__"` may exit too."""
ENDS = {"fail", "sys.exit", "exit", "os._exit", "typer.Exit", "SystemExit"}
EXITS_ELSEWHERE = {
    "lab/daemon.py": {"os._exit"},  # PID 1 of the campus, and a lost launcher: nothing above could catch anything
    "lab/host/guest/boot.py": {"os._exit"},  # PID 1 of a machine
    "lab/host/guest/processes.py": {"os._exit"},  # a forked child whose exec failed
    "lab/k3s/log.py": {"SystemExit"},  # K3s's own programs end where they log a fatal error, as logrus does
}
READS = {
    "split",
    "rsplit",
    "splitlines",
    "partition",
    "rpartition",
    "startswith",
    "endswith",
    "removeprefix",
    "removesuffix",
}
MATCHES = {"match", "search", "fullmatch", "findall", "finditer"}
OURS = ("config", "components", "ops", "lab", "toolchain", "bench")


def sources() -> list[Path]:
    return [PROJECT / "__main__.py", *(path for part in OURS for path in sorted((PROJECT / part).rglob("*.py")))]


def place(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def exits(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Calls that end the process, with their lines; a script's own start is left out."""
    for statement in tree.body:
        if is_main(statement):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ENDS:
                yield node.lineno, ast.unparse(node.func)


def is_error_text(node: ast.AST, names: set[str]) -> bool:
    """Whether an expression is the text of a caught error: `str(error)`, `f"{error}"`, `error.args[0]`."""
    match node:
        case ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=name)]):
            return name in names
        case ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id=name))]):
            return name in names
        case ast.Subscript(value=ast.Attribute(value=ast.Name(id=name), attr="args")):
            return name in names
        case _:
            return False


def parsed_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Places where the text of a caught error decides something, with their lines."""
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        names = {handler.name}
        texts = {
            target.id
            for node in ast.walk(handler)
            if isinstance(node, ast.Assign) and is_error_text(node.value, names)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

        def reported(node: ast.AST, names: set[str] = names, texts: set[str] = texts) -> bool:
            return is_error_text(node, names) or (isinstance(node, ast.Name) and node.id in texts)

        for node in ast.walk(handler):
            match node:
                case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in READS and reported(value):
                    yield node.lineno, ast.unparse(node)
                case ast.Call(func=ast.Attribute(attr=attr), args=arguments) if attr in MATCHES and any(
                    reported(argument) for argument in arguments
                ):
                    yield node.lineno, ast.unparse(node)
                case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() | ast.Eq() | ast.NotEq()], comparators=others):
                    if any(reported(one) for one in (left, *others)):
                        yield node.lineno, ast.unparse(node)
                case _:
                    pass


@pytest.mark.parametrize("path", sources(), ids=place)
def test_only_the_command_line_ends_the_process(path: Path) -> None:
    if place(path) in COMMAND_LINES:
        return
    allowed = EXITS_ELSEWHERE.get(place(path), set())
    wrong = [f"{place(path)}:{line} {call}" for line, call in exits(ast.parse(path.read_text())) if call not in allowed]

    assert wrong == [], "raise config.errors.LyceumError, or a subclass"


@pytest.mark.parametrize("path", sources(), ids=place)
def test_nothing_parses_the_text_of_an_error(path: Path) -> None:
    wrong = [f"{place(path)}:{line} {text}" for line, text in parsed_texts(ast.parse(path.read_text()))]

    assert wrong == [], "give the error a field, and read that"


def test_the_checks_find_what_they_look_for() -> None:
    bad = ast.parse(
        "def f():\n"
        "    try:\n        g()\n"
        "    except OSError as error:\n"
        "        text = str(error)\n"
        "        if 'gone' in text or str(error).startswith('x') or re.search('y', f'{error}'):\n"
        "            sys.exit(1)\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n"
    )

    assert [call for _, call in exits(bad)] == ["sys.exit"]
    assert len(list(parsed_texts(bad))) == 3
