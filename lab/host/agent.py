"""The QEMU guest agent of a VM, answered from outside through its /proc entry."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.contracts import AgentSilent
from lab.host import syscalls

READ_LIMIT = 16 << 20
"""What Proxmox reads of a file, bytes (`agent/file-read`)."""


def answer_agent(pid: int, command: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Do a command in the VM whose PID 1 is `pid`; see `Hypervisor.agent` for results and errors."""
    root = Path(f"/proc/{pid}/root")
    if not (root / "run/lab/agent").exists():
        raise AgentSilent("QEMU guest agent is not running")
    match command:
        case "ping":
            return {}
        case "file-read":
            with os.fdopen(syscalls.open_in_root(root, arguments["file"]), "rb") as file:
                data = file.read(READ_LIMIT + 1)
            content = {"content": data[:READ_LIMIT].decode("utf-8", errors="replace")}
            return content | ({"truncated": 1} if len(data) > READ_LIMIT else {})
        case _:
            raise KeyError(command)
