"""Bounded waiting that reports what it waits for, and rides out an API whose address is moving to another server."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from components.proxmox.client import PveError
from config.errors import LyceumError
from ops.console import print_detail

REPORT_SECONDS = 10.0
"""Between two lines that report the wait."""
API_ERRORS = (httpx.TransportError, PveError, httpx.HTTPStatusError)
"""What an address that moves between servers may look like; `transient_reason` tells it from an error of ours."""
_T = TypeVar("_T")


class WaitTimeoutError(LyceumError):
    """Something did not happen in time; the text has what, and the last reason."""


class NotReadyError(Exception):
    """Raised by a check that knows why it has no answer yet; the text is the reason. Never leaves `wait_until`."""


def wait_until(what: str, seconds: float, check: Callable[[], _T | None], *, every: float = 1.0) -> _T:
    """Asks until there is a truthy answer, and returns it.

    Args:
        what: What is waited for, as in `etcd to remove server-2`.
        seconds: How long at most.
        check: Gives the answer, or something falsy for "not yet", or raises `NotReadyError` with the reason. An API that
            does not answer, or answers that it is overloaded or starting, counts as "not yet".
        every: Seconds between two questions.

    Raises:
        WaitTimeoutError: the time is over.
    """
    start = reported = time.monotonic()
    reason = "not yet"
    while True:
        try:
            if answer := check():
                return answer
        except NotReadyError as error:
            reason = str(error)
        except API_ERRORS as error:
            if not (reason := transient_reason(error)):
                raise
        now = time.monotonic()
        if now - start >= seconds:
            raise WaitTimeoutError(f"timed out after {seconds:.0f} s waiting for {what}: {reason}")
        if now - reported >= REPORT_SECONDS:
            reported = now
            print_detail(f"waiting for {what}: {now - start:.0f} s of {seconds:.0f} s; {reason}")
        time.sleep(every)


def retry(what: str, seconds: float, call: Callable[[], _T]) -> _T:
    """Makes a call again while the API is too busy for it, or moving; returns its result, also an empty one.

    Raises:
        WaitTimeoutError: the API did not accept it in time.
    """
    return wait_until(what, seconds, lambda: (call(),))[0]


def transient_reason(error: Exception) -> str:
    """Why an API has no answer for the moment; empty where waiting would not help."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return f"the API answers {status}" if is_transient_status(status) else ""
    return (str(error) or type(error).__name__) if isinstance(error, API_ERRORS) else ""


def is_transient_status(status: int) -> bool:
    """Whether an HTTP status means "later" rather than "no"."""
    return (
        status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT}
        or status >= httpx.codes.INTERNAL_SERVER_ERROR
    )
