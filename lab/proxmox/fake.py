"""A hypervisor without machines, for tests of whatever talks to the API."""

from collections.abc import Mapping
from typing import Any

from lab.contracts import AgentSilent, HostFailed, VmSpec


class FakeHypervisor:
    """Records the calls and answers as a booted guest would.

    Attributes:
        machines: Specifications of the VMs that run, by number.
        events: `start 100`, `stop 100`, `kill 100`, `delete 100`, in order.
        files: Content that `file-read` returns, by path.
        broken: Numbers of VMs whose start fails.
    """

    def __init__(self) -> None:
        self.machines: dict[int, VmSpec] = {}
        self.events: list[str] = []
        self.files: dict[str, str] = {}
        self.broken: set[int] = set()

    async def start(self, vm: VmSpec) -> None:
        """See `Hypervisor`."""
        if vm.vmid in self.broken:
            raise HostFailed(f"VM {vm.vmid} does not boot: the test says so")
        self.events.append(f"start {vm.vmid}")
        self.machines[vm.vmid] = vm

    async def stop(self, vmid: int, *, force: bool) -> None:
        """See `Hypervisor`."""
        self.events.append(f"{'kill' if force else 'stop'} {vmid}")
        self.machines.pop(vmid, None)

    async def delete(self, vmid: int) -> None:
        """See `Hypervisor`."""
        self.events.append(f"delete {vmid}")
        self.machines.pop(vmid, None)

    def running(self, vmid: int) -> bool:
        """See `Hypervisor`."""
        return vmid in self.machines

    async def agent(self, vmid: int, command: str, arguments: Mapping[str, str]) -> Any:
        """See `Hypervisor`."""
        if vmid not in self.machines:
            raise AgentSilent
        match command:
            case "ping":
                return {}
            case "file-read":
                if arguments["file"] not in self.files:
                    raise FileNotFoundError(arguments["file"])
                return {"content": self.files[arguments["file"]]}
            case _:
                raise KeyError(command)
