"""The launcher: one small process that forks every VM of a campus, so that a VM costs a fork and not an interpreter.

It shares a socket with the campus daemon and speaks one JSON object a message:
    -> {"boot": {...BootPlan...}}                       <- {"created": vmid, "pid": PID}, or {"failed": vmid, "why": text}
    -> {"go": vmid}           (the network cards are there)
                                                         <- {"exited": vmid, "status": PID 1's exit status or -signal}
It imports only the standard library, and ends when the daemon does.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from lab.host import syscalls
from lab.host.guest.boot import boot_vm
from lab.host.plan import BootPlan

MESSAGE = 1 << 20
"""Longest message, bytes; a plan is a few kilobytes."""


class Launcher:
    """Forks VMs on request and reports their ends."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._vms: dict[int, int] = {}
        """PID of a VM's PID 1 -> vmid."""
        self._gates: dict[int, int] = {}
        """vmid -> writing end of the pipe that its boot waits on."""
        self._home = [
            (os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind)
            for name, kind in (("pid", syscalls.NEWPID), ("net", syscalls.NEWNET))
        ]

    def serve(self) -> None:
        """Work until the daemon closes the channel."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker)
        requests = self._channel.fileno()
        while True:
            ready, _, _ = select.select([requests, wake], [], [])
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if requests in ready:
                message = self._channel.recv(MESSAGE)
                if not message:
                    return
                self._handle(json.loads(message))

    def _handle(self, message: dict[str, Any]) -> None:
        if "boot" in message:
            plan = BootPlan.from_json(message["boot"])
            try:
                self._send({"created": plan.vmid, "pid": self._fork(plan)})
            except OSError as error:
                self._send({"failed": plan.vmid, "why": str(error)})
        elif (gate := self._gates.pop(message["go"], None)) is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(gate, b"1")
            os.close(gate)

    def _fork(self, plan: BootPlan) -> int:
        """Fork PID 1 of a VM into new PID and network namespaces; the launcher itself returns to its own."""
        inside, gate = os.pipe2(os.O_CLOEXEC)
        console = os.open(f"{plan.directory}/console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            syscalls.unshare(syscalls.NEWPID | syscalls.NEWNET)
            pid = -1
            try:
                pid = os.fork()
            finally:
                if pid != 0:
                    for fd, kind in self._home:
                        syscalls.setns(fd, kind)
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (*self._gates.values(), gate, self._channel.fileno(), *(fd for fd, _ in self._home)):
                    os.close(other)
                boot_vm(plan, inside, console)
        finally:
            os.close(inside)
            os.close(console)
        self._vms[pid] = plan.vmid
        self._gates[plan.vmid] = gate
        return pid

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                vmid = self._vms.pop(pid, None)
                if vmid is not None:
                    gate = self._gates.pop(vmid, None)
                    if gate is not None:
                        os.close(gate)
                    self._send({"exited": vmid, "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._channel.send(json.dumps(message).encode())


def main() -> None:
    """`python -S -m lab.host.launcher FD`."""
    syscalls.die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is alive now stays for good: keeping the collector off it keeps its pages shared among all VMs.
    gc.freeze()
    Launcher(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
