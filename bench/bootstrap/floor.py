"""`python -m bench.bootstrap.floor PLAN`: one script for each machine over one asyncssh connection, as parallel as K3s allows."""

import asyncio
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

SCRIPT = (Path(__file__).parent / "floor.sh").read_text()


@dataclass(frozen=True)
class ScriptRunner:
    """Runs the plan: `key` (a file), `shared` (variables of all machines) and `hosts`, servers first."""

    plan: dict[str, Any]

    async def run_script(self, host: dict[str, Any], **words: str) -> str:
        """Runs the script on one machine; returns its output."""
        known: tuple[list[asyncssh.SSHKey], list[str], list[str]]
        known = ([asyncssh.import_public_key(host["host_key"])], [], [])
        variables = self.plan["shared"] | host["own"] | words
        script = "".join(f"{name}={shlex.quote(value.rstrip())}\n" for name, value in variables.items()) + SCRIPT
        async with asyncssh.connect(
            host["address"], username="lyceum", client_keys=[self.plan["key"]], known_hosts=known,
            kex_algs=["curve25519-sha256"], config=None,
        ) as connection:  # fmt: skip
            done = await connection.run("sudo -n bash -s", input=f"{{\n{script}}} </dev/null\n", check=True)
        return str(done.stdout)

    async def join_servers(self, hosts: list[dict[str, Any]], **words: str) -> None:
        """Joins servers one at a time: etcd accepts one learner at a time."""
        for host in hosts:
            await self.run_script(host, KIND="server", **words)

    async def run(self) -> None:
        """Starts the first server, then the other servers in turn beside all agents, then sets the roles."""
        servers = [host for host in self.plan["hosts"] if "manifest" in host["own"]]
        agents = [host for host in self.plan["hosts"] if "manifest" not in host["own"]]
        ca = (await self.run_script(servers[0], KIND="founder")).split()[0]
        joining = f"K10{ca}::server:{self.plan['shared']['token']}"
        agent_token = f"K10{ca}::node:{self.plan['shared']['agent_token']}"
        await asyncio.gather(
            self.join_servers(servers[1:], token=joining),
            *(self.run_script(host, KIND="agent", token=agent_token) for host in agents),
        )
        names = {"AGENTS": agents, "SERVERS": servers}
        words = {kind: " ".join(host["own"]["NAME"] for host in hosts) for kind, hosts in names.items()}
        await self.run_script(servers[0], KIND="members", **words)


if __name__ == "__main__":
    asyncio.run(ScriptRunner(json.loads(Path(sys.argv[1]).read_text())).run())
