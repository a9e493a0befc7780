"""Who changed what, and with which override: one JSON line for each operation that removes something or puts it back."""

import getpass
import json
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.engine.stack import STATE

FILE = STATE / "journal.jsonl"
Entry = dict[str, Any]
"""`time`, `who`, `stack`, `operation`, and what the operation records beside them."""


def record_operation(stack: str, operation: str, facts: Mapping[str, Any], file: Path = FILE) -> None:
    """Appends one entry; a line is short enough for the kernel to write it in one piece."""
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


def read_entries(stack: str, *, file: Path = FILE) -> Iterator[Entry]:
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


def removed_before(stack: str, names: set[str], *, file: Path = FILE) -> set[str]:
    """Those of the machines that a command has removed, or begun to: a command that is repeated after a kill names them."""
    removals = [entry for entry in read_entries(stack, file=file) if entry["operation"] == "remove"]
    return names & {name for entry in removals for name in entry["nodes"]}


def update_message(operation: str, overrides: list[str]) -> str:
    """The text of an update in the engine's own history: `replace gpu-2 (--force data)`."""
    return operation + (f" (--force {' --force '.join(sorted(overrides))})" if overrides else "")
