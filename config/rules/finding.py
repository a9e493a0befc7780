"""What a rule reports."""

from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]
"""Place in a site file: keys and list indexes, as in `("nodes", 2, "address")`."""


class _InFile:
    """Marks that the value is the one the file has at the path."""


IN_FILE: Final = _InFile()


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake.

    Attributes:
        path: Where it is.
        rule: What is wrong, as a predicate of the value: `is outside 10.21.0.0/16`.
        remedy: What to do.
        value: The value, where it is not simply the one in the file; None shows no value.
    """

    path: Path
    rule: str
    remedy: str
    value: object = IN_FILE


def listed(words: list[str] | tuple[str, ...], most: int = 4) -> str:
    """Joins words for people: `a, b and c`; a long list ends in a count."""
    shown = [*words[:most], f"{len(words) - most} more"] if len(words) > most + 1 else list(words)
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
