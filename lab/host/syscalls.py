"""The few Linux calls that Python 3.11 does not offer: namespaces, mounts, and what a process may not do."""

import ctypes
import os
import struct
from pathlib import Path

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
NEWCGROUP = 0x02000000
"""CLONE_* flags of unshare(2) and setns(2)."""
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE, SHARED = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18, 1 << 20
"""MS_* flags of mount(2)."""
DETACH = 2
"""MNT_DETACH of umount2(2)."""
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_OPENAT2, _RESOLVE_IN_ROOT = 437, 0x10
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_CAPBSET_DROP = 1, 15, 24
CAPABILITIES = {"mknod": 27, "sys_module": 16, "sys_rawio": 17, "sys_time": 25, "syslog": 34, "sys_boot": 22}
"""Those of capabilities(7) that a VM's root must not have over the machine it runs on."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check_result(result: int, what: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """Give the calling process (NEWPID: its next children) new namespaces."""
    _check_result(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace that `fd` (from /proc/PID/ns) stands for."""
    _check_result(_libc.setns(fd, kind), f"setns {kind:#x}")


def mount(source: str, target: Path | str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system; errors name both ends."""
    result = _libc.mount(
        source.encode(), str(target).encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    _check_result(result, f"mount {kind or 'bind'} {source} on {target}")


def bind(source: Path | str, target: Path | str, *, read_only: bool = False) -> None:
    """Show `source` at `target`; read-only takes a second step, because one mount(2) cannot do both."""
    mount(str(source), target, flags=BIND | REC)
    if read_only:
        # Flags that the source was mounted with are locked in a user namespace and must be repeated.
        kept = os.statvfs(target).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
        mount("none", target, flags=REMOUNT | BIND | RDONLY | kept)


def unmount(target: Path | str) -> None:
    """Detach a mount and all below it; it ends with its last user."""
    _check_result(_libc.umount2(str(target).encode(), DETACH), f"umount {target}")


def pivot_root(new_root: Path) -> None:
    """Make `new_root` (a mount point) the root, and detach the old one."""
    os.chdir(new_root)
    # pivot_root(".", ".") stacks the old root over the new one, so no directory is needed for it (pivot_root(2)).
    _check_result(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), f"pivot_root {new_root}")
    unmount(".")
    os.chdir("/")


def drop_capabilities() -> None:
    """Drop the capabilities that would reach the machine instead of the VM, for all descendants too."""
    for number in CAPABILITIES.values():
        _check_result(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"drop capability {number}")


def set_process_name(name: str) -> None:
    """Set what `ps -o comm` shows of this process; the kernel keeps 15 bytes."""
    _check_result(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl PR_SET_NAME")


def die_with_parent(signal: int) -> None:
    """Ask the kernel to send `signal` to this process when its parent dies."""
    _check_result(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def open_in_root(root: Path, path: str) -> int:
    """Open a file for reading as a process with that root would: links cannot lead out of it (openat2(2)).

    Returns:
        A file descriptor.
    """
    how = struct.pack("QQQ", os.O_RDONLY | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = int(_libc.syscall(_OPENAT2, directory, path.encode(), how, ctypes.c_size_t(len(how))))
    finally:
        os.close(directory)
    if fd < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), path)
    return fd


def outer_uid() -> int:
    """Who the lab's root is on the machine."""
    first = Path("/proc/self/uid_map").read_text().split()
    return int(first[1])
