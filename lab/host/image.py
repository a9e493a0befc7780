"""The VM image of the lab: this machine's /usr, and a fresh root beside it.

Layers are made once at every `lab up` and shared by all VMs. Only what is named here is taken from the machine's
/etc; accounts, keys, homes and everything in /opt, /srv, /usr/local or /var stay out of the VMs' sight.
"""

import contextlib
import os
import shutil
import stat
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lab.host.plan import LAB

ETC = (
    "adduser.conf", "alternatives", "bash.bashrc", "ca-certificates", "ca-certificates.conf", "debian_version",
    "default", "ethertypes", "gai.conf", "host.conf", "inputrc", "iproute2", "issue", "issue.net", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime", "login.defs", "os-release", "pam.conf", "pam.d",
    "profile", "protocols", "rpc", "security", "services", "shells", "skel", "ssl", "terminfo", "timezone",
)  # fmt: skip
"""What a VM needs of the machine's /etc: distribution, libraries, certificates, PAM."""
DIRECTORIES = {
    "dev": 0o755, "etc": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755, "proc": 0o555,
    "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o555, "tmp": 0o1777, "usr": 0o755, "var": 0o755,
    "var/cache": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/spool": 0o755, "var/tmp": 0o1777,
    "etc/ssh": 0o755, "etc/sudoers.d": 0o750, "etc/apt/apt.conf.d": 0o755, "etc/sysctl.d": 0o755, "etc/systemd/system": 0o755,
}  # fmt: skip
LOCAL = ("bin", "etc", "include", "lib", "sbin", "share", "src")
"""Directories of a fresh /usr/local."""
COMMANDS = {
    "systemctl": ("systemctl", "reboot", "poweroff", "shutdown"),
    "journalctl": ("journalctl",),
    "apt": ("apt-get", "apt-mark", "apt-config", "dpkg", "unattended-upgrade"),
    "cloud_init": ("cloud-init",),
    "kernel": ("modprobe", "lsmod", "sysctl"),
    "hardware": ("lspci", "nvidia-smi"),
}
"""Module of lab.host.guest -> commands it answers; they cover the machine's own, in /usr/bin and /usr/sbin."""

SSHD_CONFIG = """\
# Diffie-Hellman on curve25519 first: forty logins at once take 2 s of two cores with it, 22 s with sntrup761.
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
PrintMotd no
Subsystem sftp internal-sftp
"""
SSH_UNIT = """\
[Unit]
Description=OpenBSD Secure Shell server

[Service]
Type={type}
ExecStart=/usr/sbin/sshd -D -e
KillMode=process
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""
UNATTENDED = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
"""Debian's cloud images upgrade themselves, as this says."""
SUDOERS = """\
Defaults env_reset, use_pty
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
%sudo ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
"""
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nprotocols: files\nservices: files\n"


class ImageError(Exception):
    """This machine cannot lend its /usr to VMs; the text says what is missing and the remedy."""


@dataclass(frozen=True)
class Image:
    """Layers for overlayfs, top first, and what VMs see read-only beside them (source, target)."""

    root: str
    usr: str
    binds: tuple[tuple[str, str], ...]


def build_image(base: Path, project: Path) -> Image:
    """Build the image below `base`, an empty directory on a file system of the lab's own.

    Args:
        base: Where the layers go; on tmpfs, because overlay layers must not contain each other.
        project: The project, whose `lab` package and toolchain VMs see.

    Raises:
        ImageError: sshd or sudo is missing, or /bin is not a link to /usr/bin.
    """
    check_host_programs()
    root, usr, hidden = base / "root", base / "usr", base / "hidden"
    for path, mode in DIRECTORIES.items():
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path).chmod(mode)
    for entry in Path("/").iterdir():
        if entry.is_symlink() and str(entry.readlink()).removeprefix("/").startswith("usr/"):
            (root / entry.name).symlink_to(entry.readlink())
    _copy_etc(root / "etc")
    write_accounts(Path("/etc/passwd").read_text(), Path("/etc/group").read_text(), root / "etc")
    _write(root / "etc/sudoers", SUDOERS, 0o440)
    _write(root / "etc/nsswitch.conf", NSSWITCH)
    _write(root / "etc/apt/apt.conf.d/20auto-upgrades", UNATTENDED)
    _write(root / "etc/ssh/sshd_config", SSHD_CONFIG)
    # Debian's sshd tells systemd when it listens; upstream's does since 9.8.
    notifies = b"READY=1" in Path("/usr/sbin/sshd").read_bytes()
    unit = SSH_UNIT.format(type="notify" if notifies else "simple")
    _write(root / "etc/systemd/system/ssh.service", unit)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "ssh.service").symlink_to("/etc/systemd/system/ssh.service")
    _fill_usr(usr)
    hidden.mkdir()
    # A whiteout: the machine's /usr/local ends here, and `usr/local` above it is a new directory.
    os.mknod(hidden / "local", stat.S_IFCHR | 0o600, 0)
    return Image(str(root), f"{usr}:{hidden}:/usr", tuple(_list_binds(project)))


def check_host_programs() -> None:
    """Check that this machine has what VMs need.

    Raises:
        ImageError: with the remedy.
    """
    missing = [path for path in ("/usr/sbin/sshd", "/usr/bin/sudo", "/usr/sbin/ip") if not Path(path).exists()]
    if missing:
        raise ImageError(
            f"VMs of the lab borrow this machine's programs, and it has no {', '.join(missing)}. "
            "Remedy (Debian, Ubuntu): apt-get install --no-install-recommends openssh-server sudo iproute2"
        )
    if not Path("/bin").is_symlink():
        raise ImageError(
            "/bin is a directory of its own here; VMs need a merged /usr. Remedy: apt-get install usrmerge"
        )


def _copy_etc(target: Path) -> None:
    for name in ETC:
        source = Path("/etc") / name
        if source.is_dir() and not source.is_symlink():
            with contextlib.suppress(shutil.Error):  # an ordinary user cannot read ssl/private, and no VM should
                shutil.copytree(source, target / name, symlinks=True, ignore=shutil.ignore_patterns("private"))
        elif source.exists() or source.is_symlink():
            shutil.copy2(source, target / name, follow_symlinks=False)


def write_accounts(passwd: str, group: str, etc: Path) -> None:
    """Write the image's accounts: the machine's system users (UID below 1000, and nobody), without passwords.

    `*` is not a password that can be typed; unlike `!` it does not make sshd call the account locked.
    """
    users = [line for line in passwd.splitlines() if _is_system_account(line)]
    groups = [line for line in group.splitlines() if _is_system_account(line)]
    if not any(line.startswith("sshd:") for line in users):
        users.append("sshd:x:101:65534::/run/sshd:/usr/sbin/nologin")
    _write(etc / "passwd", "".join(f"{line}\n" for line in users))
    _write(etc / "shadow", "".join(f"{line.split(':')[0]}:*:19000:0:99999:7:::\n" for line in users), 0o640)
    _write(etc / "group", "".join(f"{':'.join(line.split(':')[:3])}:\n" for line in groups))


def _is_system_account(line: str) -> bool:
    fields = line.split(":")
    return len(fields) > 2 and fields[2].isdigit() and (int(fields[2]) < 1000 or fields[0] in {"nobody", "nogroup"})


def _fill_usr(usr: Path) -> None:
    """What covers the machine's /usr: the lab's commands, sudo owned by this root, and an empty /usr/local."""
    for name in LOCAL:
        (usr / "local" / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib"):
        (usr / name).mkdir()
    for module, names in COMMANDS.items():
        for name in names:
            for place in ("bin", "sbin"):
                _write(usr / place / name, _command_script(module), 0o755)
    # In a user namespace the machine's root is nobody, and sudo obeys only files of root: it gets copies.
    shutil.copy2("/usr/bin/sudo", usr / "bin/sudo")
    (usr / "bin/sudo").chmod(0o4755)
    for place in ("libexec/sudo", "lib/sudo"):
        if (Path("/usr") / place).is_dir():
            shutil.copytree(Path("/usr") / place, usr / place, symlinks=True)
    library = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" in library and (Path(sys.base_prefix) / "lib" / library).exists():
        (usr / "lib" / library).symlink_to(LAB / "python/lib" / library)


def guest_python() -> Path:
    """The interpreter as VMs see it."""
    return LAB / "python/bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def _command_script(module: str) -> str:
    return (
        f"#!{guest_python()} -ISB\n"
        "import sys\n"
        f'sys.path.insert(0, "{LAB}/src")\n'
        f"from lab.host.guest.{module} import main\n"
        "sys.exit(main(sys.argv))\n"
    )


def _list_binds(project: Path) -> list[tuple[str, str]]:
    """What every VM sees read-only; the project's secrets and state are not among it."""
    pairs = [
        (sys.base_prefix, LAB / "python"),
        (sysconfig.get_path("purelib"), LAB / "site"),
        (str(project / "lab"), LAB / "src/lab"),
        (os.path.realpath(project / ".toolchain/bin"), LAB / "bin"),
    ]
    return [(source, str(target)) for source, target in pairs if Path(source).is_dir()]


def guest_environment() -> str:
    """Content of /run/lab/env: how programs of the lab find Python, its packages and the toolchain in a VM."""
    return (
        f"LYCEUM_PYTHON={guest_python()}\nPYTHONPATH={LAB}/src:{LAB}/site\nPYTHONDONTWRITEBYTECODE=1\nLYCEUM_BIN={LAB}/bin\n"
        # Otherwise the loader finds another build of libpython in the machine's own directories.
        f"LD_LIBRARY_PATH={LAB}/python/lib\n"
    )


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)
