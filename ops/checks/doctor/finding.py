"""What the doctor says."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from components.proxmox.client import PveError
from ops.clients.proxmox import status


class State(StrEnum):
    """How it stands."""

    OK = "ok"
    FAULT = "fault"
    UNKNOWN = "unknown"
    """Could not be asked, and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer.

    Attributes:
        check: What was asked: `privileges`, `bridge`.
        state: How it stands.
        cause: What is so.
        remedy: What to do about it, a command where there is one; empty when all is well.
    """

    check: str
    state: State
    cause: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """For tools."""
        return asdict(self)


def ok(check: str, cause: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, cause)


def fault(check: str, cause: str, remedy: str) -> Finding:
    """Something is wrong."""
    return Finding(check, State.FAULT, cause, remedy)


def unknown(check: str, cause: str, remedy: str = "") -> Finding:
    """It could not be asked."""
    return Finding(check, State.UNKNOWN, cause, remedy)


def guarded(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Turns a refusal in the middle of a check into a finding of it, so that the other checks go on."""
    with suppress(StopIteration):
        while True:
            try:
                yield next(findings)
            except PveError as error:
                if status(error) == 403:
                    yield unknown(check, f"may not be asked: {error}", "see the finding about privileges")
                else:
                    yield fault(check, str(error), "look at the node's task log and journal")
                return
