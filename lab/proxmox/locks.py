"""Locks of VM configurations and storages, with the time-out and words of Proxmox VE."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.proxmox.errors import ApiError

__all__ = ["Locks"]


class Locks:
    """Mutual exclusion by lock file name.

    Args:
        timeout: Seconds to wait before a call is refused.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def vm(self, vmid: int) -> AsyncIterator[None]:
        """Hold the configuration of a VM; raises `ApiError` 500 `can't lock file ...` after the time-out."""
        async with self._held(f"/var/lock/qemu-server/lock-{vmid}.conf"):
            yield

    @asynccontextmanager
    async def storage(self, name: str) -> AsyncIterator[None]:
        """Hold a storage while a volume is made on it."""
        async with self._held(f"/var/lock/pve-manager/pve-storage-{name}"):
            yield

    @asynccontextmanager
    async def _held(self, file: str) -> AsyncIterator[None]:
        lock = self._locks[file]
        try:
            await asyncio.wait_for(lock.acquire(), self._timeout)
        except TimeoutError:
            raise ApiError(500, f"can't lock file '{file}' - got timeout") from None
        try:
            yield
        finally:
            lock.release()
