"""The three contenders, which get the same machines: Lyceum through the engine, Ansible, and the floor."""

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
from bench.bootstrap.campus import Machines, program_input
from bench.bootstrap.site import SERVERS
from config.hosts import Node
from toolchain.environment import PROJECT, engine_environment

PROGRAM = Path(__file__).parent / "program"
PLAY = Path(__file__).parent / "play.yaml"


def select_nodes(machines: Machines, agents: int | None) -> list[Node]:
    """All nodes, or the servers and so many agents."""
    return list(machines.site.machines[: None if agents is None else SERVERS + agents])


class Lyceum:
    """The real engine with the real cluster layer, and a state of its own."""

    name = "lyceum"

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.home = Path(tempfile.mkdtemp(prefix="state-", dir=machines.directory))
        self.environment = os.environ | engine_environment() | {
            "PULUMI_BACKEND_URL": self.home.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PYTHONPATH": str(PROJECT),
            "BENCH_FACTS": str(self.home / "facts.json"),
            "BENCH_COUNT": str(len(machines.keys)),
        }  # fmt: skip
        self._pulumi("stack", "init", "bench")

    def run(self, agents: int | None = None) -> None:
        """Runs `pulumi up`."""
        (self.home / "facts.json").write_text(json.dumps(program_input(self.machines, agents)))
        self._pulumi("up", "--yes", "--skip-preview", "--parallel=32", "--stack=bench")

    def _pulumi(self, *arguments: str) -> None:
        command = self.machines.command_in_campus("pulumi", *arguments)
        done = subprocess.run(command, cwd=PROGRAM, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        with suppress(FileNotFoundError):
            (PROGRAM / "Pulumi.bench.yaml").unlink()


class Ansible:
    """An Ansible play of the same steps: forty forks, pipelining, one connection for each machine."""

    name = "ansible"

    def __init__(self, machines: Machines, binary: str) -> None:
        self.machines, self.binary = machines, binary
        self.home = Path(tempfile.mkdtemp(prefix="ansible-", dir=machines.directory))
        known = self.home / "known_hosts"
        addresses = {node.name: str(node.address) for node in machines.site.machines}
        known.write_text("".join(f"{addresses[name]} {key}\n" for name, key in machines.keys.items()))
        self.environment = os.environ | {
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_FORKS": "40",
            "ANSIBLE_TIMEOUT": "60",  # forty logins at once on two busy cores
            "ANSIBLE_HOST_KEY_CHECKING": "true",
            "ANSIBLE_SSH_ARGS": f"-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile={known} "
            f"-o KexAlgorithms=curve25519-sha256 -i {machines.directory}/id",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.home / "cp"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }

    def run(self, agents: int | None = None) -> None:
        """Runs the play."""
        inventory = self.home / "hosts.yaml"
        inventory.write_text(yaml.safe_dump(self._inventory(agents)))
        command = self.machines.command_in_campus(self.binary, "-i", str(inventory), str(PLAY))
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            failures = [line for line in done.stdout.splitlines() if line.startswith(("TASK", "fatal", "failed"))]
            raise RuntimeError("\n".join([*failures[-5:], done.stderr[-2000:]]))

    def _inventory(self, agents: int | None) -> dict[str, object]:
        nodes = select_nodes(self.machines, agents)
        groups = {"founder": nodes[:1], "servers": nodes[1:SERVERS], "agents": nodes[SERVERS:]}
        login = {"ansible_user": "lyceum", "ansible_become": True, "ansible_python_interpreter": "/usr/bin/python3"}
        return {
            "all": {
                "vars": login | steps.shared_texts(self.machines.site),
                "children": {
                    group: {"hosts": {node.name: self._host(node) for node in members}}
                    for group, members in groups.items()
                },
            }
        }

    def _host(self, node: Node) -> dict[str, str]:
        return {"ansible_host": str(node.address)} | steps.node_texts(node, self.machines.site)


class Floor:
    """One idempotent script for each machine over one asyncssh connection; without plan, state or progress."""

    name = "floor"

    def __init__(self, machines: Machines) -> None:
        self.machines = machines

    def run(self, agents: int | None = None) -> None:
        """Runs floor.py in a process of its own, as the other contenders do."""
        file = Path(tempfile.mkstemp(dir=self.machines.directory)[1])
        plan = {
            "key": str(self.machines.directory / "id"),
            "shared": steps.shared_texts(self.machines.site),
            "hosts": [self._host(node) for node in select_nodes(self.machines, agents)],
        }
        file.write_text(json.dumps(plan))
        command = self.machines.command_in_campus(sys.executable, "-m", "bench.bootstrap.floor", str(file))
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def _host(self, node: Node) -> dict[str, object]:
        own = {"NAME": node.name, "ADDRESS": str(node.address)} | steps.node_texts(node, self.machines.site)
        return {"address": str(node.address), "host_key": self.machines.keys[node.name], "own": own}


def uninstall(machines: Machines) -> None:
    """Removes what a contender installed from every machine, so that the next one starts fresh."""

    async def wipe_machine(vmid: int) -> None:
        wipe = (
            "systemctl stop k3s; systemctl stop k3s-agent; rm -rf /usr/local/bin/k3s /etc/rancher /var/lib/rancher /run/lyceum-* "
            "/etc/systemd/system/k3s.service /etc/systemd/system/k3s-agent.service /etc/sysctl.d/90-lyceum.conf "
            "/etc/apt/apt.conf.d/90-lyceum; "
            "systemctl daemon-reload; true"
        )
        await asyncio.to_thread(machines.lab.ask, "run", vmid=vmid, argv=["bash", "-c", wipe])

    async def wipe_all() -> None:
        await asyncio.gather(*(wipe_machine(vmid) for vmid in range(1001, 1001 + len(machines.keys))))

    asyncio.run(wipe_all())


def find_ansible() -> str | None:
    """Path of `ansible-playbook`; None if it is not installed. It is not a dependency of Lyceum."""
    return os.environ.get("BENCH_ANSIBLE") or shutil.which("ansible-playbook")
