"""The request logs of what the lab serves: one JSON line a request, without secrets."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"pass|secret|token$|^keys$|private", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_URL_QUERY = re.compile(r"(?<=://)([^?\s]+)\?\S+")


def redact(params: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Parameters fit to be written down: secrets starred, logins and queries of URLs cut."""

    def shown(name: str, value: str) -> str:
        if _SECRET.search(name):
            return "***"
        return _URL_QUERY.sub(r"\1?***", _URL_LOGIN.sub("***", value))

    return {
        name: shown(name, values[0]) if len(values) == 1 else [shown(name, value) for value in values]
        for name, values in params.items()
    }


class RequestLog:
    """Appends to a log file; its directory is created."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Line buffered: a killed campus leaves every finished request in the file.
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, method: str, path: str, status: int, began: float, **details: Any) -> None:
        """Add a line about a request: its path without the query, and when it began (`time.monotonic()`).

        The status is that of the answer; 0 when the connection was dropped.
        """
        line = {
            "time": round(time.time(), 3),
            "method": method,
            "path": path,
            "status": status,
            "ms": round((time.monotonic() - began) * 1000, 1),
            **details,
        }
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
