"""VMs of a campus of their own for the tests of the K3s stand-in, and K3s on them as a unit."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab import campus
from lab.k3s import launcher
from lab.spec import CampusRequest, dump_request
from tests.lab.host.vms import CAMPUS, vm

VERSION = "v1.36.3+k3s1"

UNIT = """\
[Unit]
Description=Lightweight Kubernetes
StartLimitIntervalSec=0
[Service]
Type=notify
KillMode=process
ExecStart=/usr/local/bin/k3s {role}
TimeoutStartSec=0
Restart=no
"""
"""K3s's unit, except that it does not restart by itself, as the tests look at every end, and may be started as often as
they like: a fast machine gets through five refused starts in the ten seconds after which systemd refuses to try."""

PATIENCE_S = 240.0
"""When a wait is called endless. How fast the stand-in is, is not what these tests are about."""


def wait_for(what: str, check: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Wait until a check holds; returns after how many seconds it did."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return time.monotonic() - began


class Campus:
    """A lab without Lyceum: its network, its power switches, and somebody with a key."""

    def __init__(self, home: Path, real_nodes: tuple[str, ...] = ()) -> None:
        """Bring it up; `home` is for keys, pods really run on `real_nodes`."""
        self.name = f"test-k3s-{os.getpid()}"
        self.home = home
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "id")], check=True)
        spec = replace(CAMPUS, name=self.name, real_nodes=real_nodes)
        campus.up(dump_request(CampusRequest(spec)), self.name, report=print)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Ask the campus for something, such as a VM's power."""
        return campus.ask(do, lab=self.name, **arguments)

    def run(self, *command: str) -> str:
        """Run a command in the campus's network and return what it prints, whether it succeeds or not."""
        words = [*campus.enter_command(self.name), *command]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def close(self) -> None:
        """End everything."""
        campus.down(self.name)


class Machine:
    """A VM."""

    def __init__(self, home: Campus, number: int, name: str) -> None:
        """Make it and switch it on."""
        self.campus, self.name, self.address = home, name, f"10.21.1.{number}"
        self._vm = vm(number, name=name, gpus=(), ssh_keys=((home.home / "id.pub").read_text().strip(),))
        self.power_on()
        self.write("/usr/local/bin/k3s", launcher(VERSION).decode(), "755")

    def power_on(self) -> None:
        """Boot, and wait until it can be reached."""
        self.campus.ask("vm_start", vm=asdict(self._vm))
        wait_for(f"{self.name} to boot", lambda: self.run("true", check=False).returncode == 0)

    @property
    def vmid(self) -> int:
        """Number of the VM."""
        return self._vm.vmid

    def power_off(self) -> None:
        """Pull the plug."""
        self.campus.ask("vm_stop", vmid=self._vm.vmid, force=True)

    def run(
        self, *command: str, check: bool = True, seconds: float = PATIENCE_S, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        # Who answers at this address is not what is tested here.
        trust = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
        ssh = ["ssh", "-i", str(self.campus.home / "id"), *trust.split(), "-o", "ConnectTimeout=20"]
        words = [
            *campus.enter_command(self.campus.name),
            *ssh,
            f"lyceum@{self.address}",
            shlex.join(["sudo", *command]),
        ]
        result = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
        assert not check or result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def write(self, path: str, text: str, mode: str = "600") -> None:
        """Write a file, whole."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text)

    def read(self, path: str) -> str:
        """Read a file."""
        return self.run("cat", path).stdout

    def start(self, role: str) -> None:
        """Start `k3s server` or `k3s agent`; returns when it has begun, not when it is ready."""
        self._install(role)
        before = len(self.log())
        self.run("systemctl", "start", "--no-block", "k3s")
        wait_for("K3s to begin", lambda: len(self.log()) > before)

    def try_to_start(self, role: str) -> str:
        """Start K3s, wait until it is ready or has ended, and return what it said."""
        self._install(role)
        before = len(self.log())
        self.run("systemctl", "start", "k3s", check=False)
        return self.log()[before:]

    def _install(self, role: str) -> None:
        self.write("/etc/systemd/system/k3s.service", UNIT.format(role=role), "644")
        self.run("systemctl", "daemon-reload")

    def state(self) -> str:
        """Return systemd's word for K3s's state."""
        return self.run("systemctl", "is-active", "k3s", check=False).stdout.strip()

    def up(self) -> bool:
        """Whether K3s is ready; fails at once when it has ended."""
        state = self.state()
        assert state not in {"failed", "inactive"}, f"k3s on {self.name} ended:\n{self.log()[-3000:]}"
        return state == "active"

    def ended(self) -> bool:
        """Whether K3s has ended."""
        return self.state() in {"failed", "inactive"}

    def stop(self) -> None:
        """Stop K3s in an orderly way."""
        self.run("systemctl", "stop", "k3s")

    def kill(self) -> None:
        """Kill K3s's main process with SIGKILL."""
        self.run("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=main", "k3s")
        wait_for("K3s to be gone", self.ended)

    def log(self) -> str:
        """What K3s said, over all starts."""
        return self.run("cat", "/var/log/units/k3s.service.log", check=False).stdout

    def says(self, text: str, since: int = 0) -> None:
        """Wait until K3s has said something, later than after `since` characters of its log."""
        end = time.monotonic() + PATIENCE_S
        while text not in (said := self.log()[since:]):
            assert time.monotonic() < end, f"{text!r}: not within {PATIENCE_S:.0f} s; {self.name} said:\n{said[-3000:]}"
            time.sleep(0.1)

    def kubectl(self, *words: str, check: bool = True) -> str:
        """Run `k3s kubectl` and return what it prints."""
        return self.run("/usr/local/bin/k3s", "kubectl", *words, check=check).stdout

    def node(self, name: str) -> dict[str, Any]:
        """Return a Node, as soon as the API answers."""
        text: list[str] = []

        def known() -> bool:
            text[:] = [self.kubectl("get", "node", name, "-o", "json", check=False)]
            return bool(text[0])

        wait_for(f"the Node {name}", known)
        found: dict[str, Any] = json.loads(text[0])
        return found

    def delete_node(self, name: str) -> None:
        """Delete a Node and wait until it is gone; while etcd elects a leader, it is said again."""
        words = ("delete", "node", name, "--timeout=30s", "--ignore-not-found")
        wait_for(
            f"the Node {name} to go",
            lambda: self.run("/usr/local/bin/k3s", "kubectl", *words, check=False).returncode == 0,
        )

    def nodes(self) -> dict[str, str]:
        """Return node name to the status of its Ready condition."""
        path = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        lines = self.kubectl("get", "nodes", "-o", f"jsonpath={path}", check=False).splitlines()
        return {name: status for name, _, status in (line.partition(" ") for line in lines)}
