"""The campus daemon's end of the launcher's channel."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.contracts import HostFailed
from lab.host.launcher import MESSAGE
from lab.host.plan import BootPlan

PROJECT = Path(__file__).resolve().parents[2]


class LauncherClient:
    """Asks the launcher to fork VMs, and hears when they end."""

    def __init__(self) -> None:
        self._on_exit: Callable[[int, int], None] = lambda _vmid, _status: None
        self._on_loss: Callable[[], None] = lambda: None
        self._channel, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._created: dict[int, asyncio.Future[int]] = {}
        self._process: asyncio.subprocess.Process | None = None

    async def open(self, on_exit: Callable[[int, int], None], on_loss: Callable[[], None]) -> None:
        """Start the launcher; `on_exit(vmid, status)` hears of a VM's end, `on_loss()` of the launcher's own."""
        self._on_exit, self._on_loss = on_exit, on_loss
        self._channel.setblocking(False)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-B", "-m", "lab.host.launcher", str(self._theirs.fileno()),
            pass_fds=[self._theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "LANG": "C.UTF-8"},
        )  # fmt: skip
        self._theirs.close()
        asyncio.get_running_loop().add_reader(self._channel, self._read)

    async def boot(self, plan: BootPlan) -> int:
        """Fork a VM; returns the PID of its PID 1, which waits for `go`.

        Raises:
            HostFailed: it could not be forked.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._created[plan.vmid] = waiter
        self._send({"boot": plan.to_json()})
        pid: int = await waiter
        return pid

    def go(self, vmid: int) -> None:
        """Continue a VM's boot: its network cards are there."""
        self._send({"go": vmid})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        if len(data) > MESSAGE:
            raise HostFailed(f"boot plan of {len(data)} bytes is longer than {MESSAGE}")
        self._channel.send(data)

    def _read(self) -> None:
        data = self._channel.recv(MESSAGE)
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._on_loss()
            return
        message = json.loads(data)
        if "exited" in message:
            self._on_exit(message["exited"], message["status"])
        elif "created" in message:
            self._created.pop(message["created"]).set_result(message["pid"])
        else:
            self._created.pop(message["failed"]).set_exception(HostFailed(message["why"]))
