"""What goes wrong with machines: power, freezes, networks, and another sshd at a VM's address."""

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from lab.contracts import HostFailed
from lab.host import disk
from lab.host.guest import apt
from lab.host.guest.systemctl import decode_answer, encode_words
from lab.host.hypervisor import NamespaceHypervisor
from lab.network import card_name

ROGUE = """\
[Service]
ExecStart=
ExecStart=/usr/sbin/sshd -D -e -f /run/lab/rogue_sshd_config
"""
UNATTENDED = """\
[Service]
Type=notify
ExecStart=/usr/bin/unattended-upgrade
"""
DROP_IN = "run/systemd/system/ssh.service.d/rogue.conf"


class VmFaults:
    """Breaks running VMs, and mends them."""

    def __init__(self, hypervisor: NamespaceHypervisor) -> None:
        self._hypervisor = hypervisor

    def handlers(self) -> dict[str, Any]:
        """By the names that the control socket knows."""
        names = (
            "power_fail", "freeze", "thaw", "cut", "heal", "slow", "rogue_sshd", "true_sshd", "run", "systemctl",
            "offer_packages", "hold_dpkg", "age_certificates",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    async def power_fail(self, vmid: int) -> None:
        """Pull the plug; the disk keeps what was written."""
        self._hypervisor.powered(vmid)
        await self._hypervisor.stop(vmid, force=True)

    async def freeze(self, vmid: int) -> None:
        """Stop every process of the VM where it is; its addresses still answer ARP, its sockets stay open."""
        self._signal(vmid, signal.SIGSTOP)

    async def thaw(self, vmid: int) -> None:
        """Continue the processes of a frozen VM."""
        self._signal(vmid, signal.SIGCONT)

    async def cut(self, vmid: int) -> None:
        """Drop everything from and to the VM without a word, as a dead switch port does."""
        await self._ports(vmid, state=0)

    async def heal(self, vmid: int) -> None:
        """Undo `cut` and `slow`."""
        await self._ports(vmid, state=3)
        for index in range(len(self._hypervisor.powered(vmid).vm.nics)):
            await _run_command("tc", "qdisc", "delete", "dev", card_name(vmid, index), "root")

    async def slow(self, vmid: int, kbit: int, delay_ms: int = 0) -> None:
        """Limit what reaches the VM to `kbit` kbit/s; a delay needs a kernel with netem."""
        for index in range(len(self._hypervisor.powered(vmid).vm.nics)):
            shape = (
                ("netem", "delay", f"{delay_ms}ms", "rate", f"{kbit}kbit")
                if delay_ms
                else ("tbf", "rate", f"{kbit}kbit", "burst", "16kb", "latency", "400ms")
            )
            code, _, errors = await _run_command(
                "tc", "qdisc", "replace", "dev", card_name(vmid, index), "root", *shape
            )
            if code:
                raise HostFailed(f"this kernel cannot slow a link that way ({errors.strip()}); without a delay it can")

    async def age_certificates(self, vmid: int, days: int) -> int:
        """Make a node's certificates so many days older, as if the time had passed.

        Returns:
            How many it has.
        """
        from lab.k3s import age_certificates  # noqa: PLC0415  # the lab is up without K3s, and quick

        roots = [self._root(machine.vm.vmid) for machine in self._hypervisor.machines()]
        tls = [root / "var/lib/rancher/k3s/server/tls" for root in roots]
        authorities = next((directory for directory in tls if (directory / "client-ca.key").exists()), None)
        if authorities is None:
            raise HostFailed("no server with a CA is on: the certificates cannot be signed")
        return age_certificates.age_machine(self._root(vmid), authorities, days)

    async def rogue_sshd(self, vmid: int) -> str:
        """Serve SSH with another host key, while the disk and the guest agent still show the true one.

        Returns:
            The rogue's public key.
        """
        root = self._root(vmid)
        private, public = disk.new_host_key("rogue")
        config = (root / "etc/ssh/sshd_config").read_text().replace(disk.HOST_KEY, "/run/lab/rogue_key")
        (root / "run/lab/rogue_key").touch(mode=0o600)
        (root / "run/lab/rogue_key").write_bytes(private)
        (root / "run/lab/rogue_sshd_config").write_text(config)
        (root / DROP_IN).parent.mkdir(parents=True, exist_ok=True)
        (root / DROP_IN).write_text(ROGUE)
        await self._restart_sshd(vmid)
        return public.decode().strip()

    async def true_sshd(self, vmid: int) -> None:
        """Undo `rogue_sshd`."""
        (self._root(vmid) / DROP_IN).unlink(missing_ok=True)
        await self._restart_sshd(vmid)

    async def offer_packages(self, vmid: int, packages: dict[str, dict[str, Any]]) -> None:
        """Add packages to the VM's archive, by name; the fields are those of `lab.host.guest.apt.Offer`.

        Offering a package again replaces what was said of it, which mends one that failed.
        """
        for fields in packages.values():
            apt.Offer(**fields)  # an unknown field fails here, not on the VM
        file = self._root(vmid) / str(apt.ARCHIVE).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(known | packages))

    async def hold_dpkg(self, vmid: int, seconds: float) -> None:
        """Hold dpkg's lock in a process of the VM for so many seconds, as a nightly upgrade does; returns once it holds it."""
        root = self._root(vmid)
        (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        (root / "run/systemd/system/lab-unattended.service").write_text(UNATTENDED)
        file = root / str(apt.HOLD_SECONDS).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(seconds))
        for argv in (["daemon-reload"], ["restart", "lab-unattended"]):
            code, _, errors = await self.systemctl(vmid, argv)
            if code:
                raise HostFailed(errors)

    async def systemctl(self, vmid: int, argv: list[str]) -> list[Any]:
        """Ask the VM's PID 1, as its root would: exit status, output, errors."""
        reader, writer = await asyncio.open_unix_connection(self._root(vmid) / "run/systemd/private")
        writer.write(encode_words(argv))
        writer.write_eof()
        data = await reader.read()
        writer.close()
        return list(decode_answer(data))

    async def run(self, vmid: int, argv: list[str]) -> list[Any]:
        """Run a command as the VM's root, beside its sshd: exit status, output, errors."""
        pid = self._hypervisor.powered(vmid).pid
        return list(
            await _run_command("nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", *argv)
        )

    async def _restart_sshd(self, vmid: int) -> None:
        for argv in (["daemon-reload"], ["restart", "ssh"]):
            code, _, errors = await self.systemctl(vmid, argv)
            if code:
                raise HostFailed(errors)

    def _root(self, vmid: int) -> Path:
        return Path(f"/proc/{self._hypervisor.powered(vmid).pid}/root")

    def _signal(self, vmid: int, number: signal.Signals) -> None:
        for pid in list_processes(self._hypervisor.powered(vmid).pid):
            with contextlib.suppress(ProcessLookupError):  # it ended since it was listed
                os.kill(pid, number)

    async def _ports(self, vmid: int, *, state: int) -> None:
        """Set the bridge ports' forwarding state: 0 disabled, 3 forwarding (bridge(8))."""
        for index in range(len(self._hypervisor.powered(vmid).vm.nics)):
            # bridge(8), because `ip link ... type bridge_slave state` is taken and does nothing.
            code, _, errors = await _run_command(
                "bridge", "link", "set", "dev", card_name(vmid, index), "state", str(state)
            )
            if code:
                raise HostFailed(f"bridge: {errors.strip()}")


def list_processes(pid: int) -> list[int]:
    """Every process of the VM whose PID 1 is `pid`: those of its PID namespace, and their children in the pods' own."""
    try:
        wanted = (Path(f"/proc/{pid}/ns/pid")).readlink()
    except OSError:  # it went off since it was listed
        return []
    children: dict[int, list[int]] = {}
    found = []
    for entry in Path("/proc").glob("[1-9]*"):
        try:
            number, parent = int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (entry / "ns/pid").readlink() == wanted:
                found.append(number)
        except OSError:
            continue
        children.setdefault(parent, []).append(number)
    known = set(found)
    for number in found:  # grows meanwhile
        further = [child for child in children.get(number, []) if child not in known]
        known.update(further)
        found += further
    return found


async def _run_command(*argv: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    return process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace")
