"""A YAML file as plain data, with the line of each value."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError

from config.finding import FieldPath, Finding
from config.paths import project_path

MAX_VALUES = 50_000
"""Limit of values in a file; more is an accident, or aliases that multiply."""
MAX_DEPTH = 30


class UnreadableFileError(Exception):
    """A file that is not a YAML document that can be a site or a stack file.

    Attributes:
        rule: What is wrong.
        remedy: What to do.
        line: Where, from 1, if known.
    """

    def __init__(self, rule: str, remedy: str, line: int | None = None) -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule, self.remedy, self.line = rule, remedy, line

    def finding(self, path: Path) -> Finding:
        """The error as a finding about the file."""
        return Finding((), self.rule, self.remedy, file=project_path(path), line=self.line)


@dataclass(frozen=True)
class Document:
    """A mapping read from a file.

    Attributes:
        data: Plain dicts, lists and scalars.
        lines: Place of each key and list item -> line, from 1.
    """

    data: dict[str, Any]
    lines: dict[FieldPath, int] = field(default_factory=dict)

    def line(self, path: FieldPath) -> int | None:
        """The line of a place, or of the closest place above it that the file has."""
        for length in range(len(path), 0, -1):
            if found := self.lines.get(path[:length]):
                return found
        return 1 if self.lines else None

    def value(self, path: FieldPath) -> object:
        """The value at a place; None where the file has none."""
        value: Any = self.data
        for key in path:
            inside = isinstance(value, list) and isinstance(key, int) and -1 < key < len(value)
            if not inside and not (isinstance(value, dict) and key in value):
                return None
            value = value[key]
        return value

    def has(self, path: FieldPath) -> bool:
        """Whether the file has a value at this place."""
        return path in self.lines


class _Constructor(RoundTripConstructor):
    """Keeps a date that does not exist as text, so that it is reported where it stands and not as a YAML error."""

    def construct_yaml_timestamp(self, node: Any, values: Any = None) -> Any:
        try:
            return super().construct_yaml_timestamp(node, values)
        except ValueError:
            return node.value


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_timestamp)


def read_document(path: Path) -> Document:
    """Reads a file.

    Raises:
        UnreadableError: it does not exist, or is not text, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnreadableFileError("does not exist", "`./lyceum init` writes a first one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(
            f"cannot be read: {type(error).__name__}", "it must be a text file in UTF-8"
        ) from None
    return parse_document(text)


def parse_document(text: str) -> Document:
    """Parses YAML 1.2.

    Raises:
        UnreadableError: it is not YAML, or not a mapping.
    """
    try:
        yaml = YAML()
        yaml.Constructor = _Constructor
        data = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise UnreadableFileError(*_explain_syntax_error(error), line) from None
    except RecursionError:
        raise UnreadableFileError("is nested too deeply", f"at most {MAX_DEPTH} levels") from None
    except Exception as error:  # noqa: BLE001 - the parser raises any exception on odd input; none may reach people
        raise UnreadableFileError(f"is not valid YAML: {type(error).__name__}", "check the last change") from None
    if not isinstance(data, CommentedMap):
        remedy = "it starts with `name: …`; see docs/reference/site.md"
        raise UnreadableFileError("is empty" if data is None else "is not a mapping of settings", remedy)
    document = Document(data={}, lines={})
    document.data.update(_plain_value(data, (), document.lines))
    return document


def _explain_syntax_error(error: MarkedYAMLError) -> tuple[str, str]:
    problem = error.problem or "a syntax error"
    if match := re.match(r'found duplicate key "?([^"]*?)"? with value', problem):
        return f"has the key `{match[1]}` twice", "keep one of them"
    if "found character '\\t'" in problem:
        return "is indented with a tab", "indent with spaces"
    if "found undefined alias" in problem:
        return f"is not valid YAML: {problem}", "define the anchor before it is used"
    return f"is not valid YAML: {problem}", "check the indentation, and quote text that holds `: `, `[`, `{` or `#`"


def _plain_value(value: Any, path: FieldPath, lines: dict[FieldPath, int]) -> Any:
    if len(path) > MAX_DEPTH:
        raise UnreadableFileError("is nested too deeply", f"at most {MAX_DEPTH} levels", lines.get(path[:MAX_DEPTH]))
    if len(lines) > MAX_VALUES:
        raise UnreadableFileError(f"has more than {MAX_VALUES} values", "aliases multiply the values: write them out")
    if isinstance(value, CommentedMap):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else str(key)
            lines[*path, name] = _line_of_key(value.lc.data, key, lines.get(path, 1))
            plain[name] = _plain_value(item, (*path, name), lines)
        return plain
    if isinstance(value, CommentedSeq):
        items = []
        for index, item in enumerate(value):
            lines[*path, index] = _line_of_key(value.lc.data, index, lines.get(path, 1))
            items.append(_plain_value(item, (*path, index), lines))
        return items
    if isinstance(value, TaggedScalar):
        raise UnreadableFileError(
            f"has the tag `{value.tag.value}`", "remove it: tags are not supported", lines.get(path)
        )
    return value


def _line_of_key(marks: dict[Any, list[int]] | None, key: object, above: int) -> int:
    """Line of a key; a value that comes from a merge key (`<<`) has the line above it."""
    mark = (marks or {}).get(key)
    return mark[0] + 1 if mark else above
