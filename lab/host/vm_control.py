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
        own = self._hypervisor
        return {"vm_start": self.start, "vm_stop": own.stop, "vm_delete": own.delete, "vm_agent": own.agent}

    async def start(self, vm: dict[str, Any]) -> None:
        """Power on what `vm`, the fields of a `VmSpec`, describes."""
        await self._hypervisor.start(_VM.validate_python(vm))
