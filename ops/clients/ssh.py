"""Runs scripts as root on machines over SSH; only the host keys in the stack's state are trusted."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from components.cluster.bootstrap import run_as_root
from config.errors import LyceumError
from config.hosts import Node
from config.key_derivation import USER, ssh_private_key_pem
from ops.files import open_atomically

if TYPE_CHECKING:
    from ops.engine.engine import Engine

KEX = "curve25519-sha256"
"""The default, sntrup761, costs 0.2 CPU seconds per login (performance.md)."""
CONNECT_SECONDS = 15
SUDO = "sudo -n "
PROBE_SECONDS = 10.0
"""Between two keepalive probes; the connection ends after three without an answer (S4)."""


class RemoteError(LyceumError):
    """A machine does not answer, shows another host key, or its script failed; the text says which."""


@dataclass(frozen=True)
class Remote:
    """A machine that scripts can be run on.

    Attributes:
        name: Its name.
        address: Where it answers.
        host_key: Its host key, `ssh-ed25519 …`.
        private_key: PEM of our key.
        user: Who logs in.
        port: Where its SSH server listens.
    """

    name: str
    address: str
    host_key: str
    private_key: str
    user: str = USER
    port: int = 22

    def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
        """Runs a bash script as root; returns its standard output.

        Args:
            script: The script.
            seconds: How long it may take.
            say: Is called with each line of standard error; without it they are only shown where the script fails.

        Raises:
            RemoteError: it could not be run, or failed.
        """
        return asyncio.run(self._run(script, seconds, say))

    def fetch(self, command: str, target: Path, *, seconds: float = 1800) -> None:
        """Runs a command as root and writes what it prints into a file that only we can read.

        Raises:
            RemoteError: it could not be run, or failed.
        """
        asyncio.run(self._fetch(command, target, seconds))

    async def _run(self, script: str, seconds: float, say: Callable[[str], None] | None) -> str:
        stderr: list[str] = []

        async def listen(lines: asyncssh.SSHReader[str]) -> None:
            async for line in lines:
                stderr.append(line)
                if say:
                    say(line.rstrip("\n"))

        async with self._connected() as connection, asyncio.timeout(seconds):
            process = await connection.create_process(run_as_root())
            process.stdin.write(script)
            process.stdin.write_eof()
            out, _ = await asyncio.gather(process.stdout.read(), listen(process.stderr))
            done = await process.wait()
        self._check(done.exit_status, "".join(stderr))
        return str(out)

    async def _fetch(self, command: str, target: Path, seconds: float) -> None:
        with open_atomically(target) as file:
            async with self._connected() as connection:
                # asyncssh closes what it writes to.
                running = connection.run(f"{SUDO}{command}", encoding=None, stdout=os.dup(file.fileno()))
                done = await asyncio.wait_for(running, seconds)
            stderr = done.stderr.decode(errors="replace") if isinstance(done.stderr, bytes) else str(done.stderr)
            self._check(done.exit_status, stderr)

    def _check(self, status: int | None, stderr: str) -> None:
        if status is None:
            # Neither an exit code nor a signal: the connection was lost while the command ran.
            raise RemoteError(self._unreachable("the connection was lost"))
        if status:
            raise RemoteError(f"{self.name}: {stderr.strip() or f'exit code {status}'}")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        try:
            async with asyncssh.connect(
                self.address,
                self.port,
                username=self.user,
                client_keys=[asyncssh.import_private_key(self.private_key)],
                known_hosts=([asyncssh.import_public_key(self.host_key)], [], []),
                kex_algs=[KEX],
                config=None,
                agent_path=None,
                connect_timeout=CONNECT_SECONDS,
                keepalive_interval=PROBE_SECONDS,
                keepalive_count_max=3,
            ) as connection:
                yield connection
        except asyncssh.HostKeyNotVerifiable:
            raise RemoteError(
                f"{self.name} ({self.address}) has another host key than the one read through its guest agent: "
                f"nothing was sent. If the machine was rebuilt by hand: ./lyceum node replace {self.name}"
            ) from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise RemoteError(self._unreachable(str(error) or "no answer in time")) from None

    def _unreachable(self, reason: str) -> str:
        return (
            f"{self.name} ({self.address}) cannot be reached over SSH: {reason}. Check that it is switched on and the network "
            f"in between works, then run the same command again"
        )


def remotes(engine: "Engine", nodes: tuple[Node, ...]) -> dict[str, Remote]:
    """Those of the machines whose host key is known."""
    keys = engine.export().host_keys
    private = ssh_private_key_pem(engine.stack.secret("seed"))
    return {
        node.name: Remote(node.name, str(node.address), keys[node.name], private) for node in nodes if node.name in keys
    }
