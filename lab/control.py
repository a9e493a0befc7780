"""The daemon's control socket: one JSON line asks, one answers. Only the lab's owner can open it."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from config.errors import LyceumError

Handler = Callable[..., Awaitable[Any]]


class ControlError(LyceumError):
    """The daemon refused or failed; the text is its own."""


class NotRunning(LyceumError):  # noqa: N818  # a state
    """The daemon does not run: the lab is down."""


async def serve(path: Path, handlers: dict[str, Handler]) -> asyncio.Server:
    """Answer `{"do": name, "with": {...}}` with what the handler of that name returns."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            asked = json.loads(await reader.readline())
            try:
                result = {"ok": await handlers[asked["do"]](**asked["with"])}
            except Exception as error:  # noqa: BLE001  # the caller is the one to know
                result = {"error": f"{error}" or repr(error)}
            writer.write(json.dumps(result).encode() + b"\n")
            await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)
    with _short_path(path) as address:
        server = await asyncio.start_unix_server(answer, address, limit=1 << 20)
    path.chmod(0o600)
    return server


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A path of a socket that fits: the kernel takes 107 bytes, and projects lie deeper than that."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def call_handler(path: Path, do: str, *, timeout: float = 60.0, **arguments: Any) -> Any:
    """Ask the daemon and wait for its answer.

    Raises:
        NotRunning: no daemon listens at `path`.
        ControlError: the daemon refused.
    """
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(timeout)
        try:
            with _short_path(path) as address:
                channel.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"the lab is down: no daemon listens at {path}") from None
        try:
            channel.sendall(json.dumps({"do": do, "with": arguments}).encode() + b"\n")
            with channel.makefile("rb") as answers:
                line = answers.readline()
        except ConnectionError:
            line = b""
    if not line:
        raise NotRunning("the lab went down while it was asked")
    result = json.loads(line)
    if "error" in result:
        raise ControlError(result["error"])
    return result["ok"]
