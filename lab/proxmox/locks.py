"""Locks of VM configurations and storages, with the time-out and messages of Proxmox VE."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from lab.proxmox.errors import ApiError
from lab.proxmox.timing import Timing


class Locks:
    """Mutual exclusion by lock file name.

    Args:
        timing: How long to wait before a call is refused, and whether and how long a storage is busy with a volume.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def vm(self, vmid: int) -> AsyncIterator[None]:
        """Hold the configuration of a VM; raises `ApiError` 500 `can't lock file ...` after the time-out."""
        async with self._held(f"/var/lock/qemu-server/lock-{vmid}.conf"):
            yield

    @asynccontextmanager
    async def storage(self, name: str) -> AsyncIterator[None]:
        """Hold a storage while volumes are made on it."""
        async with self._held(f"/var/lock/pve-manager/pve-storage-{name}"):
            await asyncio.sleep(self._timing.allocation)
            yield

    @asynccontextmanager
    async def storages(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold several storages, in the order of their names; none unless the campus has slow ones."""
        async with AsyncExitStack() as held:
            for name in sorted(set(names)) if self._timing.allocation else ():
                await held.enter_async_context(self.storage(name))
            yield

    @asynccontextmanager
    async def _held(self, file: str) -> AsyncIterator[None]:
        lock = self._locks[file]
        try:
            await asyncio.wait_for(lock.acquire(), self._timing.lock_timeout)
        except TimeoutError:
            raise ApiError(500, f"can't lock file '{file}' - got timeout") from None
        try:
            yield
        finally:
            lock.release()
