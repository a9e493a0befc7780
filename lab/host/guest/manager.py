"""PID 1 of a VM: starts enabled units, answers `systemctl`, reaps orphans, and powers off in order."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from pathlib import Path

from lab.host.guest import kernel
from lab.host.guest.processes import Processes
from lab.host.guest.services import LOGS, ServiceRunner
from lab.host.guest.systemctl import decode_words, encode_words
from lab.host.guest.systemctl_server import SystemctlAnswer, systemctl
from lab.host.guest.timer_runner import TimerRunner
from lab.host.guest.timers import TimerUnit
from lab.host.guest.unit_files import UnitFiles
from lab.host.guest.units import ServiceUnit, UnitError

CONTROL = Path("/run/systemd/private")
"""Where `systemctl` asks."""
AGENT_MARK = Path("/run/lab/agent")
"""Exists from when the guest agent answers: once sshd is up."""
BOOTED_MARK = Path("/run/lab/booted")
"""Exists once every enabled unit has been started or has failed."""
POWEROFF, REBOOT = 0, 3
"""Exit statuses of PID 1, by which the hypervisor knows what the guest wanted."""
_PEER = struct.Struct("3i")


class Manager:
    """The units of a running VM."""

    def __init__(self, files: UnitFiles) -> None:
        self.files = files
        self.booted = False
        self._processes = Processes()
        self._runners: dict[str, ServiceRunner | TimerRunner] = {}
        self._power: asyncio.Future[int] | None = None

    def known(self) -> list[ServiceRunner | TimerRunner]:
        """Services and timers that were loaded since boot, by name."""
        return [self._runners[name] for name in sorted(self._runners)]

    def runner(self, name: str) -> ServiceRunner | TimerRunner:
        """The service or timer, loaded when it is first asked for.

        Raises:
            UnitError: there is none of that name, or it is unusable.
        """
        if name not in self._runners:
            if name.endswith(".timer"):
                self._runners[name] = TimerRunner(self, self.files.load_timer(name))
            else:
                self._runners[name] = ServiceRunner(self._processes, self.files.load(name))
        return self._runners[name]

    def reload(self) -> None:
        """`systemctl daemon-reload`: read units again; what runs keeps running."""
        for name, runner in self._runners.items():
            with contextlib.suppress(UnitError):
                if isinstance(runner, TimerRunner):
                    runner.unit = self.files.load_timer(name)
                else:
                    runner.unit = self.files.load(name)

    def power(self, status: int) -> None:
        """Start to power off or to reboot; returns at once."""
        if self._power is not None and not self._power.done():
            self._power.set_result(status)

    async def run(self) -> int:
        """Boot, serve, and return PID 1's exit status once the power is to go off."""
        loop = asyncio.get_running_loop()
        self._power = loop.create_future()
        self._processes.watch(loop)
        loop.add_signal_handler(signal.SIGTERM, self.power, POWEROFF)
        loop.add_signal_handler(signal.SIGINT, self.power, REBOOT)
        LOGS.mkdir(parents=True, exist_ok=True)
        CONTROL.parent.mkdir(parents=True, exist_ok=True)
        kernel.apply_at_boot()
        async with await asyncio.start_unix_server(self._serve, CONTROL):
            CONTROL.chmod(0o777)
            boot = asyncio.create_task(self._boot())
            status = await self._power
            boot.cancel()
            await asyncio.gather(*(runner.stop() for runner in self._runners.values()))
        return status

    async def _boot(self) -> None:
        """Start enabled units at once, each after those that it names in `After=`."""
        units: dict[str, ServiceUnit | TimerUnit] = {}
        for name in self.files.enabled_units():
            try:
                units[name] = self.runner(name).unit
            except UnitError as error:
                with (LOGS / f"{name}.log").open("a") as log:
                    log.write(f"systemd[1]: {error}\n")
        jobs: dict[str, asyncio.Task[None]] = {}

        async def start(unit: ServiceUnit | TimerUnit) -> None:
            await asyncio.gather(*(jobs[name] for name in unit.after if name in jobs))
            await self.runner(unit.name).start()
            if unit.name == "ssh.service":
                AGENT_MARK.touch()

        # Creating every task before any of them runs lets `After=` find those that come later in the alphabet.
        for name, unit in units.items():
            jobs[name] = asyncio.create_task(start(unit))
        await asyncio.gather(*jobs.values())
        self.booted = True
        BOOTED_MARK.touch()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one `systemctl`: its arguments come as texts, exit status, output and errors go back as such."""
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        uid = _PEER.unpack(peer)[1]
        with contextlib.suppress(ConnectionError):
            argv = decode_words(await reader.read())
            try:
                answer = await systemctl(self, argv, root=uid == 0)
            except UnitError as error:
                answer = SystemctlAnswer(1, err=f"{error}\n")
            writer.write(encode_words([str(answer.code), answer.out, answer.err]))
            await writer.drain()
        writer.close()


def main() -> int:
    """Run as PID 1; the result is its exit status."""
    os.umask(0o022)
    return asyncio.run(Manager(UnitFiles()).run())
