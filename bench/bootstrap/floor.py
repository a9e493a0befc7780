"""`python -m bench.bootstrap.floor PLAN`: one script a host over asyncssh, in three stages."""

import asyncio
import json
import sys
from pathlib import Path

import asyncssh

from bench.bootstrap.campus import SERVERS


async def one(address: str, host_key: str, script: str, key: str) -> None:
    """Runs one host's script."""
    known: tuple[list[asyncssh.SSHKey], list[str], list[str]] = ([asyncssh.import_public_key(host_key)], [], [])
    async with asyncssh.connect(
        address, username="lyceum", client_keys=[key], known_hosts=known, kex_algs=["curve25519-sha256"], config=None
    ) as connection:
        await connection.run("sudo -n bash -s", input=script, check=True)


async def main(plan: dict[str, list[list[str]]], key: str) -> None:
    """First server, further servers one after the other, agents at once."""
    hosts = plan["hosts"]
    for address, host_key, script in hosts[:SERVERS]:
        await one(address, host_key, script, key)
    await asyncio.gather(*(one(address, host_key, script, key) for address, host_key, script in hosts[SERVERS:]))


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(main(told, told["key"]))
