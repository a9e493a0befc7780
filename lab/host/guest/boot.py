"""The first moments of a VM: from a forked process in fresh namespaces to PID 1 of a Debian."""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

from lab.host import syscalls
from lab.host.guest import manager
from lab.host.plan import BootPlan

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
FORWARDING = {"ipv4/ip_forward": "1", "bridge/bridge-nf-call-iptables": "1"}
"""Below /proc/sys/net: what the pods' network would set by itself, if a VM could write there. Only the VM's own."""


def boot_vm(plan: BootPlan, go: int, console: int) -> None:
    """Become PID 1 of the VM; never returns.

    Args:
        plan: What to build.
        go: A pipe; a byte on it says that the network cards are there, its end that the VM is not wanted any more.
        console: Where output goes that no service owns.
    """
    status = 1
    try:
        os.setsid()
        os.dup2(console, 1)
        os.dup2(console, 2)
        build_root(plan)
        socket.sethostname(Path("/etc/hostname").read_text().strip() or plan.hostname)
        if os.read(go, 1):
            configure_network(plan.ip)
            syscalls.drop_capabilities()
            # How programs recognise systemd: PID 1's name, and sd_booted(3)'s directory.
            syscalls.set_process_name("systemd")
            Path("/run/systemd/system").mkdir(parents=True)
            status = manager.main()
    except Exception as error:  # noqa: BLE001  # the console is all a VM without PID 1 has
        os.write(2, f"boot of {plan.hostname} failed: {error!r}\n".encode())
    finally:
        os._exit(status)


def build_root(plan: BootPlan) -> None:
    """Give the process, which has its own PIDs and network already, the VM's disk as its root."""
    cgroups = syscalls.NEWCGROUP if plan.pods else 0
    syscalls.unshare(syscalls.NEWNS | syscalls.NEWUTS | syscalls.NEWIPC | cgroups)
    syscalls.mount("none", "/", flags=syscalls.REC | syscalls.PRIVATE)
    home = Path(plan.directory)
    root = home / "root"
    _overlay(root, plan.lower, home / "upper", home / "work", plan.options)
    _overlay(root / "usr", plan.usr, home / "usr-upper", home / "usr-work", plan.options)
    syscalls.mount("proc", root / "proc", "proc", syscalls.NOSUID | syscalls.NODEV)
    # As a switch learns where a VM is when its card comes up: with a gratuitous ARP.
    (root / "proc/sys/net/ipv4/conf/all/arp_notify").write_text("1")
    for name, value in FORWARDING.items() if plan.pods else ():
        with contextlib.suppress(OSError):  # the kernel may have no bridge netfilter, or keep it to itself
            (root / "proc/sys/net" / name).write_text(value)
    # Only the VM's own network lives under /proc/sys for it; the rest is the machine's and must stay out of reach.
    syscalls.bind(root / "proc/sys", root / "proc/sys", read_only=True)
    syscalls.mount("sysfs", root / "sys", "sysfs", syscalls.RDONLY | syscalls.NOSUID | syscalls.NODEV)
    if plan.pods:
        _show_cgroups(root / "sys/fs/cgroup")
    for name, mode in (("dev", "755"), ("run", "755")):
        syscalls.mount("tmpfs", root / name, "tmpfs", syscalls.NOSUID, f"mode={mode}")
    _devices(root / "dev")
    for source, target, read_only in plan.binds:
        place = root / target.lstrip("/")
        if Path(source).is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        syscalls.bind(source, place, read_only=read_only)
    for target, path in plan.links:
        link = root / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    (root / "run/sshd").mkdir(mode=0o755)
    for name, text in plan.run_files.items():
        file = root / "run" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    syscalls.pivot_root(root)
    if plan.pods:
        # As systemd does: what is mounted later must reach the containers that ask for it.
        syscalls.mount("none", "/", flags=syscalls.REC | syscalls.SHARED)
        # The kubelet reads the kernel's log for what ran out of memory.
        (Path("/dev") / "kmsg").symlink_to("null")


def _show_cgroups(target: Path) -> None:
    """Show the unified hierarchy, as a Debian does; nobody may write there, and no pod gets a cgroup.

    runc does nothing without a hierarchy. Where the kernel does not give one out, it sees the machine's.
    """
    try:
        syscalls.mount("cgroup2", target, "cgroup2", syscalls.NOSUID | syscalls.NODEV | syscalls.NOEXEC)
    except OSError:
        syscalls.bind("/sys/fs/cgroup", target)
    else:
        locked = syscalls.NOSUID | syscalls.NODEV | syscalls.NOEXEC
        syscalls.mount("none", target, flags=syscalls.REMOUNT | syscalls.BIND | syscalls.RDONLY | locked)


def _overlay(target: Path, lower: str, upper: Path, work: Path, options: str) -> None:
    """Mount a disk.

    `volatile` leaves out fsync: a VM's power failure is not the machine's, so what it wrote is in the page cache and
    comes back. The kernel marks such a mount against reuse after a real crash; the mark is removed here, knowingly.
    """
    for directory in (target, upper, work):
        directory.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / "work" / "incompat", ignore_errors=True)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work},volatile"
    syscalls.mount("disk", target, "overlay", options=f"{options},{layers}" if options else layers)


def _devices(dev: Path) -> None:
    """A /dev with nothing of the machine's but the harmless devices; bind mounts need no right to make nodes."""
    for name in DEVICES:
        (dev / name).touch()
        syscalls.bind(f"/dev/{name}", dev / name)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    syscalls.mount("devpts", dev / "pts", "devpts", syscalls.NOSUID, "newinstance,ptmxmode=0666,mode=0620")
    syscalls.mount("tmpfs", dev / "shm", "tmpfs", syscalls.NOSUID | syscalls.NODEV, "mode=1777")
    for link, target in LINKS.items():
        (dev / link).symlink_to(target)


def configure_network(batch: str) -> None:
    """Give the network cards their addresses, and tell the neighbours."""
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, env={"PATH": "/usr/sbin:/usr/bin"})
