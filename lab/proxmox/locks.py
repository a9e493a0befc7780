"""Locks of VM configurations, with the time-out and messages of Proxmox VE."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.proxmox.errors import ApiError


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
