"""Errors that explain themselves. Standard library only: helpers that run outside our virtual environment raise them too."""

from __future__ import annotations

FAILED, USAGE, REFUSED = 1, 2, 3
"""Exit codes: something failed; the call is wrong; the operation would do harm and its override is missing."""


class LyceumError(Exception):
    """An error that explains itself; only the command line prints it and ends with its exit code.

    Attributes:
        message: What is wrong.
        remedy: What to do about it; empty where the message says it.
        exit_code: Exit code of the command that it ends; by default that of the class.
    """

    exit_code = FAILED

    def __init__(self, message: str = "", *, remedy: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        """Message and remedy: what an operator reads."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class UsageError(LyceumError):
    """The call itself is wrong: an argument, an option, or what they name."""

    exit_code = USAGE


class OperationRefusedError(LyceumError):
    """The operation would do harm, or something has to come first; nothing was changed."""

    exit_code = REFUSED
