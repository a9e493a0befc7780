"""Who gave which word, when: one JSON line for each operation that takes something away or puts it back."""

import getpass
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.engine.stack import STATE

JOURNAL = STATE / "journal.jsonl"


def record(stack: str, operation: str, facts: Mapping[str, Any], file: Path = JOURNAL) -> None:
    """Appends one entry; a line is short enough for the kernel to write it as a whole."""
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "stack": stack,
        "operation": operation,
        **facts,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(entry) + "\n")


def entries(stack: str, *, file: Path = JOURNAL) -> Iterator[dict[str, Any]]:
    """The entries of a stack, oldest first; a line that a power failure cut short is left out."""
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("stack") == stack:
            yield entry


def gone_before(stack: str, names: set[str], *, file: Path = JOURNAL) -> set[str]:
    """Those of the machines that a command has taken away, or begun to: who repeats it after a kill means them."""
    taken = [entry for entry in entries(stack, file=file) if entry["operation"] == "remove"]
    return names & {name for entry in taken for name in entry["nodes"]}


def message(operation: str, words: list[str]) -> str:
    """The same for the engine's own history: `replace gpu-2 (--force data)`."""
    return operation + (f" (--force {' --force '.join(sorted(words))})" if words else "")
