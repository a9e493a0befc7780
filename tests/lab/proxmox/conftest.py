"""Fixtures of the simulator's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab.proxmox.campus import Campus, running


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def campus(tmp_path: Path) -> AsyncIterator[Campus]:
    async with running(tmp_path) as started:
        yield started
