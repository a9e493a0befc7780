"""The three ways, each given the same hosts: ours through the engine, Ansible, and the floor."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import yaml

from bench.bootstrap import steps
from bench.bootstrap.campus import Hosts, facts
from bench.bootstrap.site import SERVERS
from config.hosts import Node
from toolchain.environment import PROJECT, engine_environment

PROGRAM = Path(__file__).parent / "program"
PLAY = Path(__file__).parent / "play.yaml"


def chosen(hosts: Hosts, agents: int | None) -> list[Node]:
    """The servers and so many agents, or all."""
    return list(hosts.site.machines[: None if agents is None else SERVERS + agents])


class Ours:
    """The real engine on the real cluster layer, with a state of its own."""

    name = "lyceum"

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.home = Path(tempfile.mkdtemp(prefix="state-", dir=hosts.directory))
        self.environment = os.environ | engine_environment() | {
            "PULUMI_BACKEND_URL": self.home.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PYTHONPATH": str(PROJECT),
            "BENCH_FACTS": str(self.home / "facts.json"),
            "BENCH_COUNT": str(len(hosts.keys)),
        }  # fmt: skip
        self._pulumi("stack", "init", "bench")

    def run(self, agents: int | None = None) -> None:
        """Brings servers and agents to what they should be."""
        (self.home / "facts.json").write_text(json.dumps(facts(self.hosts, agents)))
        self._pulumi("up", "--yes", "--skip-preview", "--parallel=32", "--stack=bench")

    def _pulumi(self, *arguments: str) -> None:
        command = self.hosts.inside("pulumi", *arguments)
        done = subprocess.run(command, cwd=PROGRAM, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        with suppress(FileNotFoundError):
            (PROGRAM / "Pulumi.bench.yaml").unlink()


class Ansible:
    """An Ansible play of the same steps, forty forks, pipelining on, one connection a host."""

    name = "ansible"

    def __init__(self, hosts: Hosts, binary: str) -> None:
        self.hosts, self.binary = hosts, binary
        self.home = Path(tempfile.mkdtemp(prefix="ansible-", dir=hosts.directory))
        known = self.home / "known_hosts"
        addresses = {node.name: str(node.address) for node in hosts.site.machines}
        known.write_text("".join(f"{addresses[name]} {key}\n" for name, key in hosts.keys.items()))
        self.environment = os.environ | {
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_FORKS": "40",
            "ANSIBLE_TIMEOUT": "60",  # forty logins at once on two busy cores
            "ANSIBLE_HOST_KEY_CHECKING": "true",
            "ANSIBLE_SSH_ARGS": f"-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known} "
            f"-o KexAlgorithms=curve25519-sha256 -i {hosts.directory}/id",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.home / "cp"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }

    def run(self, agents: int | None = None) -> None:
        """Plays the play."""
        inventory = self.home / "hosts.yaml"
        inventory.write_text(yaml.safe_dump(self._inventory(agents)))
        command = self.hosts.inside(self.binary, "-i", str(inventory), str(PLAY))
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            wrong = [line for line in done.stdout.splitlines() if line.startswith(("TASK", "fatal", "failed"))]
            raise RuntimeError("\n".join([*wrong[-5:], done.stderr[-2000:]]))

    def _inventory(self, agents: int | None) -> dict[str, object]:
        nodes = chosen(self.hosts, agents)
        groups = {"founder": nodes[:1], "servers": nodes[1:SERVERS], "agents": nodes[SERVERS:]}
        login = {"ansible_user": "lyceum", "ansible_become": True, "ansible_python_interpreter": "/usr/bin/python3"}
        return {
            "all": {
                "vars": login | steps.shared(self.hosts.site),
                "children": {
                    group: {"hosts": {node.name: self._host(node) for node in members}}
                    for group, members in groups.items()
                },
            }
        }

    def _host(self, node: Node) -> dict[str, str]:
        return {"ansible_host": str(node.address)} | steps.own(node, self.hosts.site)


class Floor:
    """One idempotent script a host over one asyncssh connection; nothing is planned, recorded or shown."""

    name = "floor"

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts

    def run(self, agents: int | None = None) -> None:
        """In a process of its own, as the others."""
        file = Path(tempfile.mkstemp(dir=self.hosts.directory)[1])
        plan = {
            "key": str(self.hosts.directory / "id"),
            "shared": steps.shared(self.hosts.site),
            "hosts": [self._host(node) for node in chosen(self.hosts, agents)],
        }
        file.write_text(json.dumps(plan))
        command = self.hosts.inside(sys.executable, "-m", "bench.bootstrap.floor", str(file))
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def _host(self, node: Node) -> dict[str, object]:
        own = {"NAME": node.name, "ADDRESS": str(node.address)} | steps.own(node, self.hosts.site)
        return {"address": str(node.address), "host_key": self.hosts.keys[node.name], "own": own}


def reset(hosts: Hosts) -> None:
    """Takes what a contender installed off every machine, so that the next one finds them fresh."""

    async def one(vmid: int) -> None:
        wipe = (
            "systemctl stop k3s; systemctl stop k3s-agent; rm -rf /usr/local/bin/k3s /etc/rancher /var/lib/rancher /run/lyceum-* "
            "/etc/systemd/system/k3s.service /etc/systemd/system/k3s-agent.service /etc/sysctl.d/90-lyceum.conf "
            "/etc/apt/apt.conf.d/90-lyceum; "
            "systemctl daemon-reload; true"
        )
        await asyncio.to_thread(hosts.lab.ask, "run", vmid=vmid, argv=["bash", "-c", wipe])

    async def all_of_them() -> None:
        await asyncio.gather(*(one(vmid) for vmid in range(1001, 1001 + len(hosts.keys))))

    asyncio.run(all_of_them())


def ansible_binary() -> str | None:
    """`ansible-playbook`, where somebody installed it: it is a measuring tool, no dependency."""
    return os.environ.get("BENCH_ANSIBLE") or shutil.which("ansible-playbook")
