"""Small virtual machines for the tests of the K3s stand-in: namespaces with an overlay root on one switch.

They are what a lab VM is to K3s and nothing more; the whole network is one process tree, and ends with it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from lab.k3s import launcher

PROJECT = Path(__file__).resolve().parents[3]
SUBNET = "10.77.0."

BOOT = r"""
set -eu; cd /
disk=$1 name=$2 binaries=$3
mount --make-rprivate /
mkdir -p "$disk/upper" "$disk/work" "$disk/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
root=$disk/root
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/opt/lyceum-lab/bin" "$root/run/lab" "$root/usr/local/bin"
mount --bind "$binaries" "$root/opt/lyceum-lab/bin"
cp "$disk"/run/* "$root/run/lab/"
hostname "$name"
ip link set lo up
cd "$root"
exec chroot . sleep infinity
"""


def toolchain() -> Path:
    """Return the directory with `kube` and `kwok`; fails with the remedy when there is none."""
    for folder in (
        PROJECT / ".toolchain" / "bin",
        *map(Path, os.environ.get("PATH", "").split(":")),
        Path("/tmp/tc/bin"),
    ):
        if (folder / "kube").exists() and (folder / "kwok").exists():
            return folder.resolve()
    raise AssertionError("no toolchain with kube and kwok: run `make setup` first")


def wait_for(what: str, check: Callable[[], bool], seconds: float = 60) -> float:
    """Wait until a check holds; returns after how many seconds it did."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)
    return time.monotonic() - began


class Switch:
    """The network of the machines: the parent of them all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machines: dict[str, Machine] = {}
        userns = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self._enter_user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self._process = subprocess.Popen(
            ["unshare", *userns, "--net", "--mount", "--pid", "--fork", "--kill-child", "sleep", "infinity"],
            start_new_session=True,
        )
        self.pid = _child(self._process.pid)
        self.run(["ip", "link", "add", "br0", "type", "bridge"])
        self.run(["ip", "address", "add", f"{SUBNET}1/24", "dev", "br0"])
        self.run(["ip", "link", "set", "br0", "up"])
        self.run(["ip", "link", "set", "lo", "up"])

    def enter(self, *, pid_namespace: bool = False) -> list[str]:
        """Return the words that run a command inside the switch's network."""
        spaces = ["--net", *(["--mount", "--pid"] if pid_namespace else [])]
        return ["nsenter", "--target", str(self.pid), *self._enter_user, *spaces, "--"]

    def run(self, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the switch's network."""
        return subprocess.run([*self.enter(), *command], check=check, capture_output=True, text=True)

    def close(self) -> None:
        """End everything."""
        self._process.kill()
        self._process.wait()


class Machine:
    """A host; its disk outlives `power_off`."""

    def __init__(self, switch: Switch, number: int, name: str, *, gpus: Sequence[dict[str, str]] = ()) -> None:
        self.switch, self.name, self.address = switch, name, f"{SUBNET}{number}"
        self._number = number
        self.disk = switch.directory / name
        (self.disk / "run").mkdir(parents=True, exist_ok=True)
        machine = {
            "vmid": 100 + number, "name": name, "node": "pve1", "cores": 4, "memory_mib": 16384, "gpus": list(gpus),
            "disks": [{"interface": "scsi0", "size_gib": 100, "boot": True}], "address": f"{self.address}/24",
        }  # fmt: skip
        (self.disk / "run" / "machine.json").write_text(json.dumps(machine))
        (self.disk / "run" / "env").write_text(f"LYCEUM_PYTHON={sys.executable}\nPYTHONPATH={PROJECT}\n")
        self.units: list[subprocess.Popen[bytes]] = []
        self.power_on()
        switch.machines[name] = self

    def power_on(self) -> None:
        """Boot."""
        command = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        boot = ["sh", "-c", BOOT, "boot", str(self.disk), self.name, str(toolchain())]
        self._process = subprocess.Popen(
            [*self.switch.enter(pid_namespace=True), *command, *boot], start_new_session=True
        )
        self.pid = _init(self._process.pid)
        port = f"v{self._number}"
        self.switch.run(["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid)])
        self.switch.run(["ip", "link", "set", port, "master", "br0", "up"])
        inside = ["nsenter", "--target", str(self.pid), *self.switch._enter_user, "--net", "--", "ip"]
        subprocess.run([*inside, "address", "add", f"{self.address}/24", "dev", "eth0"], check=True)
        subprocess.run([*inside, "link", "set", "eth0", "up"], check=True)
        wait_for("the root of the machine", lambda: Path(f"/proc/{self.pid}/root/run/lab/env").exists(), 10)
        wait_for("the chroot of the machine", lambda: str(Path(f"/proc/{self.pid}/root").readlink()) != "/", 10)
        self.write("/usr/local/bin/k3s", launcher("v1.36.3+k3s1").decode(), 0o755)

    def power_off(self) -> None:
        """Pull the plug."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def root(self) -> Path:
        """The machine's root directory, seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def write(self, path: str, text: str, mode: int = 0o600) -> None:
        """Write a file on the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def read(self, path: str) -> str:
        """Read a file of the machine."""
        return (self.root / path.lstrip("/")).read_text()

    def enter(self) -> list[str]:
        """Return the words that run a command on the machine."""
        user = self.switch._enter_user
        spaces = ["--mount", "--uts", "--net", "--pid", "--root", "--wdns=/"]
        return ["nsenter", "--target", str(self.pid), *user, *spaces, "--"]

    def run(self, *command: str, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine."""
        result = subprocess.run([*self.enter(), *command], capture_output=True, text=True, timeout=seconds, check=False)
        assert not check or result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}{result.stderr}"
        return result

    def start(self, role: str) -> None:
        """Start `k3s server` or `k3s agent` as its unit would."""
        (self.root / "run/lab/k3s.ready").unlink(missing_ok=True)
        log = (self.disk / "k3s.log").open("ab")
        unit = subprocess.Popen(
            [*self.enter(), "/usr/local/bin/k3s", role], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        self.units.append(unit)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the running unit and wait for its end."""
        self.run(
            "sh", "-c", f"kill -{int(number)} $(pgrep -f '[l]ab.k3s (server|agent)|[k]wok --kubeconfig' | head -1)"
        )
        self.units[-1].wait(20)

    @property
    def log(self) -> str:
        """What K3s said, over all starts."""
        return (self.disk / "k3s.log").read_text(errors="replace")

    def up(self) -> bool:
        """Whether the unit says that it is ready; fails at once when it has ended."""
        assert self.units[-1].poll() is None, f"k3s on {self.name} ended:\n{self.log[-3000:]}"
        return (self.root / "run/lab/k3s.ready").exists()

    def kubectl(self, *words: str, check: bool = True) -> str:
        """Run `k3s kubectl` and return what it prints."""
        return self.run("/usr/local/bin/k3s", "kubectl", *words, check=check).stdout

    def nodes(self) -> dict[str, str]:
        """Return node name to the status of its Ready condition."""
        path = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        lines = self.kubectl("get", "nodes", "-o", f"jsonpath={path}", check=False).splitlines()
        return {name: status for name, _, status in (line.partition(" ") for line in lines)}


def _child(pid: int) -> int:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.005)
    raise AssertionError(f"process {pid} has no child: could namespaces not be made here?")


def _init(pid: int) -> int:
    """Return the first process of a machine: nsenter forks, unshare forks."""
    return _child(_child(pid))


def remove(directory: Path) -> None:
    """Remove the disks of machines that are gone."""
    shutil.rmtree(directory, ignore_errors=True)
