"""Waiting that ends, says what it waits for, and takes a moving API address for what it is."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from components.proxmox.client import PveError
from config.errors import LyceumError
from ops.console import aside

SAY_EVERY = 10.0
"""Seconds between two lines that say what is waited for."""
TROUBLE = (httpx.TransportError, PveError, httpx.HTTPStatusError)
"""What an address that moves between servers may look like; `passing` tells it from an error of ours."""
_T = TypeVar("_T")


class OverdueError(LyceumError):
    """Something did not come within its time; the text says what, and the last reason."""


class NotYetError(Exception):
    """Raised by a check that knows why it has no answer yet; the text is the reason."""


def until(what: str, seconds: float, check: Callable[[], _T | None], *, every: float = 1.0) -> _T:
    """Asks until there is an answer that counts, and returns it.

    Args:
        what: What is waited for, as in `etcd to let server-2 go`.
        seconds: How long at most.
        check: Gives the answer, or something falsy for "not yet", or raises `NotYetError` with the reason. An API that
            does not answer, or answers that it is overloaded or starting, counts as "not yet".
        every: Seconds between two questions.

    Raises:
        OverdueError: the time is over.
    """
    start = said = time.monotonic()
    reason = "not yet"
    while True:
        try:
            if answer := check():
                return answer
        except NotYetError as error:
            reason = str(error)
        except TROUBLE as error:
            if not (reason := passing(error)):
                raise
        now = time.monotonic()
        if now - start >= seconds:
            raise OverdueError(f"{what} did not come within {seconds:.0f} s: {reason}")
        if now - said >= SAY_EVERY:
            said = now
            aside(f"waiting for {what}: {now - start:.0f} s of {seconds:.0f} s; {reason}")
        time.sleep(every)


def patiently(what: str, seconds: float, act: Callable[[], _T]) -> _T:
    """Does something that the API may be too busy, or just moving, to take; returns what it gives, empty or not.

    Raises:
        OverdueError: the API did not take it within its time.
    """
    return until(what, seconds, lambda: (act(),))[0]


def passing(error: Exception) -> str:
    """Why an API has no answer for the moment; empty where waiting would not help."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return f"the API answers {status}" if temporary(status) else ""
    return (str(error) or type(error).__name__) if isinstance(error, TROUBLE) else ""


def temporary(status: int) -> bool:
    """Whether an HTTP status says "later" rather than "no"."""
    return (
        status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT}
        or status >= httpx.codes.INTERNAL_SERVER_ERROR
    )
