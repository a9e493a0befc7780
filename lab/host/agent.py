"""The QEMU guest agent of a VM, answered from outside through its /proc entry."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.contracts import AgentSilent
from lab.host import syscalls

READ_LIMIT = 16 << 20
"""What Proxmox reads of a file, bytes (`agent/file-read`)."""


class GuestAgent:
    """Answers for the VM whose PID 1 is `pid`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._root = Path(f"/proc/{pid}/root")

    async def answer(self, command: str, arguments: Mapping[str, str]) -> Any:
        """Do a command; see `Hypervisor.agent` for results and errors."""
        if not (self._root / "run/lab/agent").exists():
            raise AgentSilent("QEMU guest agent is not running")
        match command:
            case "ping":
                return {}
            case "network-get-interfaces":
                return await self._interfaces()
            case "file-read":
                return self._file(arguments["file"])
            case _:
                raise KeyError(command)

    def _file(self, name: str) -> dict[str, Any]:
        with os.fdopen(syscalls.open_in_root(self._root, name), "rb") as file:
            data = file.read(READ_LIMIT + 1)
        content = {"content": data[:READ_LIMIT].decode("utf-8", errors="replace")}
        return content | ({"truncated": 1} if len(data) > READ_LIMIT else {})

    async def _interfaces(self) -> list[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            "nsenter", "--target", str(self._pid), "--net", "ip", "-json", "address", "show",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        return interfaces(json.loads(out))


def interfaces(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `ip -json address` shows, in the guest agent's words."""
    return [
        {
            "name": card["ifname"],
            "hardware-address": card.get("address", "00:00:00:00:00:00"),
            "ip-addresses": [
                {
                    "ip-address": entry["local"],
                    "ip-address-type": "ipv4" if entry["family"] == "inet" else "ipv6",
                    "prefix": entry["prefixlen"],
                }
                for entry in card.get("addr_info", [])
            ],
        }
        for card in shown
    ]
