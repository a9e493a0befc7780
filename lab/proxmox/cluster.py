"""What the handlers of the API work on: the campus, its state, and the parts that act on it."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.contracts import Hypervisor, LabSpec, PveNode
from lab.proxmox.errors import ApiError, not_found
from lab.proxmox.faults import ApiFaults
from lab.proxmox.fetch import Fetcher
from lab.proxmox.privileges import Access
from lab.proxmox.state import ClusterState, Config, Vm, save_state
from lab.proxmox.tasks import TaskBoard
from lab.proxmox.volumes import Volumes


class Locks:
    """Mutual exclusion by VM; a call is refused after `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def vm(self, vmid: int) -> AsyncIterator[None]:
        """Hold the configuration of a VM; raises `ApiError` 500 `can't lock file ...` after the time-out."""
        lock = self._locks[vmid]
        try:
            await asyncio.wait_for(lock.acquire(), self._timeout)
        except TimeoutError:
            raise ApiError(500, f"can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout") from None
        try:
            yield
        finally:
            lock.release()


@dataclass
class Cluster:
    """The simulated Proxmox VE cluster."""

    spec: LabSpec
    hypervisor: Hypervisor
    state: ClusterState
    state_file: Path
    access: Access
    volumes: Volumes
    tasks: TaskBoard
    locks: Locks
    faults: ApiFaults
    fetcher: Fetcher
    started: float
    """When the nodes came up, seconds since the epoch."""
    starting: set[int] = field(default_factory=set)
    """VMs between the decision to start them and the hypervisor's answer; their devices and memory are taken."""

    def save(self) -> None:
        """Write the state down."""
        save_state(self.state, self.state_file)

    def node(self, name: str) -> PveNode:
        """A node by name; raises `ApiError` when it does not exist or does not answer."""
        found = next((node for node in self.spec.nodes if node.name == name), None)
        if found is None:
            raise ApiError(500, f"hostname lookup '{name}' failed - failed to get address info for: {name}")
        if name in self.faults.conditions.offline:
            raise ApiError(595, f"Connection to node '{name}' failed: No route to host")
        return found

    def vm(self, node: str, vmid: int) -> Vm:
        """A VM of a node; raises `ApiError` that clients read as "gone"."""
        found = self.state.vms.get(vmid)
        if found is None or found.node != node:
            raise not_found(f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf'")
        return found

    def unlocked_vm(self, node: str, vmid: int) -> Vm:
        """A VM that no task owns; raises `ApiError` otherwise."""
        found = self.vm(node, vmid)
        if found.lock:
            raise ApiError(500, f"VM is locked ({found.lock})")
        return found

    def running(self, vmid: int) -> bool:
        """Whether the machine is on; one that its own guest switched off is not."""
        return self.hypervisor.running(vmid)

    def active_config(self, vmid: int) -> Config:
        """The configuration that a running machine was started with; of one that is off, the stored one."""
        vm = self.state.vms[vmid]
        return vm.active if vm.active is not None and self.running(vmid) else vm.config

    def occupants(self, node: str, besides: int) -> Iterator[tuple[int, Vm]]:
        """The VMs that take memory and devices of a node now, but for one."""
        for vmid, vm in self.state.vms.items():
            if vm.node == node and vmid != besides and (vmid in self.starting or self.running(vmid)):
                yield vmid, vm

    @staticmethod
    def digest(vm: Vm) -> str:
        """The configuration's SHA-1, as Proxmox VE guards concurrent edits."""
        text = json.dumps(vm.config, sort_keys=True)
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
