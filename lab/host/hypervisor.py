"""Power of the campus's VMs: boots them through the launcher, plugs their cards in, and knows when they end."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab import network
from lab.contracts import AgentSilent, HostFailed, LabSpec, PciDevice, VmSpec
from lab.host import syscalls
from lab.host.cloud_init import ip_batch
from lab.host.disk import VmDisk, map_container_storage, map_data_disks, prepare_disk
from lab.host.guest.manager import REBOOT
from lab.host.image import Image, guest_environment
from lab.host.launch import LauncherClient
from lab.host.plan import BootPlan
from lab.real_pods import RealPods

PARALLEL_BOOTS = 4
"""VMs that may be between power-on and PID 1 at a time: more of them only wait for each other on two cores."""

READ_LIMIT = 16 << 20
"""What Proxmox reads of a file, bytes (`agent/file-read`)."""

log = logging.getLogger("lab.host")


@dataclass
class RunningVm:
    """A VM with the power on."""

    vm: VmSpec
    pid: int
    since: float
    ended: asyncio.Event


class NamespaceHypervisor:
    """`lab.contracts.Hypervisor` with namespaces for VMs."""

    def __init__(
        self,
        spec: LabSpec,
        hosts: Path,
        image: Image,
        launch: LauncherClient,
        *,
        options: str,
        pods: RealPods | None = None,
        populate: Callable[[Path], None] = Path.mkdir,
    ) -> None:
        """Prepare.

        `options` are extra mount options of overlays; `populate` makes containerd's root directory, with images, for a
        VM in which pods run.
        """
        self._spec = spec
        self._hosts = hosts
        self._image = image
        self._launch = launch
        self._options = options
        self._pods = pods
        self._populate = populate
        self._running: dict[int, RunningVm] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(PARALLEL_BOOTS)
        self._reboots: set[asyncio.Task[None]] = set()

    def machines(self) -> list[RunningVm]:
        """VMs with the power on, by vmid."""
        return [self._running[vmid] for vmid in sorted(self._running)]

    def powered(self, vmid: int) -> RunningVm:
        """A VM with the power on.

        Raises:
            HostFailed: it is off or does not exist.
        """
        if vmid not in self._running:
            raise HostFailed(f"VM {vmid} is not running")
        return self._running[vmid]

    def running(self, vmid: int) -> bool:
        """See `Hypervisor`."""
        return vmid in self._running

    async def start(self, vm: VmSpec) -> None:
        """See `Hypervisor`."""
        async with self._lock(vm.vmid), self._slots:
            if vm.vmid not in self._running:
                await self._boot(vm)

    async def stop(self, vmid: int, *, force: bool) -> None:
        """See `Hypervisor`."""
        machine = self._running.get(vmid)
        if machine is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(machine.pid, signal.SIGKILL if force else signal.SIGTERM)
        await machine.ended.wait()

    async def delete(self, vmid: int) -> None:
        """See `Hypervisor`."""
        await self.stop(vmid, force=True)
        async with self._lock(vmid):
            directory = self._hosts / str(vmid)
            if directory.exists():
                # Renamed first: a half-removed disk must never be found by the next VM of this number.
                doomed = directory.rename(self._hosts / f".deleted-{vmid}-{uuid.uuid4().hex[:8]}")
                await asyncio.to_thread(shutil.rmtree, doomed)

    async def agent(self, vmid: int, command: str, arguments: Mapping[str, str]) -> Any:
        """See `Hypervisor`."""
        machine = self._running.get(vmid)
        if machine is None or not machine.vm.agent:
            raise AgentSilent("QEMU guest agent is not running")
        return answer_agent(machine.pid, command, arguments)

    def ended(self, vmid: int, status: int) -> None:
        """Record a VM's end, as the launcher reports it; a guest that asked for a reboot is started again."""
        machine = self._running.pop(vmid, None)
        if machine is None:
            return
        machine.ended.set()
        log.info("VM %s (%s) ended with %s", vmid, machine.vm.name, status)
        if status == REBOOT:
            task = asyncio.get_running_loop().create_task(self.start(machine.vm))
            self._reboots.add(task)
            task.add_done_callback(self._reboots.discard)

    @contextlib.asynccontextmanager
    async def _lock(self, vmid: int) -> AsyncIterator[None]:
        async with self._locks.setdefault(vmid, asyncio.Lock()):
            yield

    async def _boot(self, vm: VmSpec) -> None:
        begun = time.monotonic()
        disk = VmDisk(self._hosts / str(vm.vmid))
        try:
            prepare_disk(disk, vm, Path(self._image.root))
            (disk.directory / "vm.json").write_text(json.dumps({"vmid": vm.vmid, "name": vm.name, "node": vm.node}))
            pid = await self._launch.boot(await asyncio.to_thread(self._plan, vm, disk))
        except OSError as error:
            raise HostFailed(f"VM {vm.vmid} ({vm.name}): {error}") from error
        self._running[vm.vmid] = RunningVm(vm, pid, time.time(), asyncio.Event())
        try:
            await network.run_ip(network.unplug_lines(vm.vmid, network.list_interfaces()), tolerant=True)
            await network.run_ip(network.plug_lines(self._spec, vm.vmid, pid, vm.nics, network.list_interfaces()))
        except network.NetworkError as error:
            await self.stop(vm.vmid, force=True)
            raise HostFailed(f"VM {vm.vmid} ({vm.name}): {error}") from error
        self._launch.go(vm.vmid)
        log.info("VM %s (%s) powered on in %.0f ms", vm.vmid, vm.name, (time.monotonic() - begun) * 1000)

    def _plan(self, vm: VmSpec, disk: VmDisk) -> BootPlan:
        disks, links = map_data_disks(disk, vm)
        real = self._pods is not None and vm.name in self._pods.nodes
        if real:
            disks += map_container_storage(disk, self._hosts.parent / "volumes", self._populate)
        return BootPlan(
            vmid=vm.vmid,
            hostname=vm.name,
            directory=str(disk.directory),
            lower=self._image.root,
            usr=self._image.usr,
            options=self._options,
            binds=(*((source, target, True) for source, target in self._image.binds), *disks),
            links=links,
            ip=ip_batch(vm),
            run_files={
                "lab/env": guest_environment(),
                "lab/machine.json": json.dumps(hardware_facts(vm), indent=1),
                "cloud-init/result.json": '{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}\n',
                **({"lab/pods.json": self._pods.to_json()} if self._pods else {}),
            },
            pods=real,
        )


def answer_agent(pid: int, command: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Do what the guest agent of the VM whose PID 1 is `pid` would do; see `Hypervisor.agent` for results and errors."""
    root = Path(f"/proc/{pid}/root")
    if not (root / "run/lab/agent").exists():
        raise AgentSilent("QEMU guest agent is not running")
    match command:
        case "ping":
            return {}
        case "file-read":
            with os.fdopen(syscalls.open_in_root(root, arguments["file"]), "rb") as file:
                data = file.read(READ_LIMIT + 1)
            content = {"content": data[:READ_LIMIT].decode("utf-8", errors="replace")}
            return content | ({"truncated": 1} if len(data) > READ_LIMIT else {})
        case _:
            raise KeyError(command)


def hardware_facts(vm: VmSpec) -> dict[str, Any]:
    """/run/lab/machine.json: the hardware that programs in the VM may know of."""
    first = vm.nics[0] if vm.nics else None
    return {
        "vmid": vm.vmid,
        "name": vm.name,
        "node": vm.node,
        "cores": vm.cores,
        "memory_mib": vm.memory_mib,
        "gpus": [gpu_facts(vm, slot, device) for slot, device in enumerate(vm.gpus, start=1)],
        "disks": [asdict(disk) for disk in vm.disks],
        "address": first.address.split("/")[0] if first and first.address else None,
        "mac": first.mac if first else None,
    }


def gpu_facts(vm: VmSpec, slot: int, device: PciDevice) -> dict[str, str]:
    """A card as the VM sees it: q35 puts each passed-through device on a bus of its own, from 01 on."""
    return {
        "address": f"0000:{slot:02x}:00.0",
        "vendor": device.vendor,
        "device": device.device,
        "name": device.name,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{vm.node}/{device.address}")),
    }
