"""Errors that explain themselves. Standard library only: helpers that run outside our virtual environment raise them too."""

FAILED, USAGE, REFUSED = 1, 2, 3
"""Exit codes: something failed; the call is wrong; the operation would do harm and its override is missing."""


class LyceumError(Exception):
    """An error whose text says what is wrong; only the command line turns it into words and an exit code.

    Args:
        message: What is wrong.
        remedy: What to do about it, where the message does not say so; printed after the message.
        exit_code: Exit code of the command that it ends; by default that of the class.
    """

    exit_code = FAILED

    def __init__(self, message: str = "", *, remedy: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(LyceumError):
    """The call itself is wrong: an argument, an option, or what they name."""

    exit_code = USAGE


class OperationRefusedError(LyceumError):
    """The operation would do harm, or something has to come first; nothing was changed."""

    exit_code = REFUSED
