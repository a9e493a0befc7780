"""How a service says that it is up: sd_notify(3)."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Self

SOCKETS = Path("/run/systemd/notify.d")
"""One socket a unit, so the sender needs no looking up."""


class Notifications:
    """The socket that a Type=notify service reports to (sd_notify(3))."""

    def __init__(self, name: str) -> None:
        self._ready = asyncio.Event()
        self._path = SOCKETS / name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __enter__(self) -> Self:
        SOCKETS.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._path.chmod(0o777)  # services may run as other users
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    @property
    def seen(self) -> bool:
        """Whether READY=1 has come."""
        return self._ready.is_set()

    async def wait(self) -> None:
        """Return once READY=1 has come."""
        await self._ready.wait()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for line in self._socket.recv(65536).decode(errors="replace").splitlines():
                if line == "READY=1":
                    self._ready.set()
