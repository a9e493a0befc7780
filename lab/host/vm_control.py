"""VMs without an API in front of them: for tests and benchmarks of the hosts themselves, over the control socket."""

from typing import Any

from pydantic import TypeAdapter

from lab.contracts import VmSpec
from lab.host.hypervisor import NamespaceHypervisor

_VM = TypeAdapter(VmSpec)


class VmControl:
    """A hypervisor's own calls, by name."""

    def __init__(self, hypervisor: NamespaceHypervisor) -> None:
        self._hypervisor = hypervisor

    def handlers(self) -> dict[str, Any]:
        """By the names that the control socket knows."""
        return {"vm_start": self.start, "vm_stop": self.stop, "vm_delete": self.delete, "vm_agent": self.agent}

    async def start(self, vm: dict[str, Any]) -> None:
        """Power on what `vm`, the fields of a `VmSpec`, describes."""
        await self._hypervisor.start(_VM.validate_python(vm))

    async def stop(self, vmid: int, *, force: bool) -> None:
        """See `Hypervisor.stop`."""
        await self._hypervisor.stop(vmid, force=force)

    async def delete(self, vmid: int) -> None:
        """See `Hypervisor.delete`."""
        await self._hypervisor.delete(vmid)

    async def agent(self, vmid: int, command: str, arguments: dict[str, str]) -> Any:
        """See `Hypervisor.agent`."""
        return await self._hypervisor.agent(vmid, command, arguments)
