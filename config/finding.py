"""What Lyceum reports about a site file, a stack file, machines or services: one type from every check."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final

FieldPath = tuple[str | int, ...]
"""Place in a file: keys and list indexes, as in `("nodes", 2, "address")`."""


class Severity(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    """Checked and in order."""
    UNKNOWN = "unknown"
    """Could not be checked; the rule says why."""
    WARNING = "warning"
    """Reported; nothing stops for it."""
    ERROR = "error"
    """Must be corrected first."""


class _InFile:
    """Marks that the value to show is the one at the subject's place in the file."""


IN_FILE: Final = _InFile()


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. Prints as one line: `file:line: subject: value rule; remedy`.

    Attributes:
        subject: What it is about: a place in a file, or the name of what was checked, as in `gpu-1` or `privileges`.
        rule: What was found, as a predicate of the subject or of the value: `is outside 10.21.0.0/16`.
        remedy: What to do, a command where there is one; empty where nothing has to be done.
        severity: How serious it is.
        value: The value to show, where it is not the one at the place in the file; None shows no value.
        file: The file, relative to the project where it lies in it; empty for a finding that is not about a file.
        line: Line in the file, from 1; None where it is not known.
    """

    subject: FieldPath | str
    rule: str
    remedy: str = ""
    severity: Severity = Severity.ERROR
    value: object = IN_FILE
    file: str = ""
    line: int | None = None

    @property
    def subject_text(self) -> str:
        """The subject as people write it: `nodes[2].address`."""
        return replace_unprintable(self.subject if isinstance(self.subject, str) else path_text(self.subject))

    @property
    def shown_value(self) -> str | None:
        """The value as it is shown; None shows none."""
        return None if self.value is None or self.value is IN_FILE else replace_unprintable(str(self.value))

    def __str__(self) -> str:
        """One line."""
        file = f"{self.file}:{self.line}" if self.line else self.file
        place = "".join(f"{part}: " for part in (file, self.subject_text) if part)
        value = f"`{self.shown_value}` " if self.shown_value is not None else ""
        return f"{place}{value}{replace_unprintable(self.rule)}" + (
            f"; {replace_unprintable(self.remedy)}" if self.remedy else ""
        )

    def as_json(self) -> dict[str, Any]:
        """The form that `validate --json` prints."""
        return {
            "file": self.file,
            "path": self.subject_text,
            "line": self.line,
            "value": self.shown_value,
            "rule": replace_unprintable(self.rule),
            "remedy": replace_unprintable(self.remedy),
        }


def path_text(path: FieldPath) -> str:
    """`("nodes", 2, "address")` -> `nodes[2].address`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def replace_unprintable(text: str) -> str:
    """The text on one line, whatever characters it holds: keys and values come from files."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def closest_name(word: str, known: Iterable[str]) -> str | None:
    """The known name that is spelled most like a word; None where no name is close."""
    return next(iter(get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)), None)


def suggest_name(word: str, known: Iterable[str]) -> str:
    """The remedy for a word that is not among the known names: the closest of them, or all."""
    names = sorted(set(known))
    if closest := closest_name(word, names):
        return f"did you mean `{closest}`?"
    return f"known: {', '.join(names)}" if names else "there is none to choose from"
