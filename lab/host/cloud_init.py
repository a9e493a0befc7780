"""What cloud-init makes of a VM's configuration: accounts, keys, network and files, as data.

Pure: a `VmSpec` in, files out. The lab knows the keys below; others are named in /var/log/cloud-init.log, as
cloud-init itself does with keys that it does not know.
"""

import base64
import hashlib
import shlex
from dataclasses import asdict, dataclass, field
from ipaddress import ip_interface
from typing import Any

import yaml

from lab.contracts import VmSpec

KNOWN = frozenset({
    "hostname", "fqdn", "manage_etc_hosts", "users", "user", "ssh_authorized_keys", "write_files", "runcmd", "packages",
    "package_update", "package_upgrade", "ssh_pwauth", "disable_root", "timezone", "final_message", "chpasswd",
    "prefer_fqdn_over_hostname", "preserve_hostname",
})  # fmt: skip
FIRST_UID = 1000


class UserDataError(Exception):
    """The user data is not what `#cloud-config` asks for; the text names the key."""


@dataclass(frozen=True)
class User:
    """An account to make; `sudo` holds sudoers rules without the name."""

    name: str
    keys: tuple[str, ...] = ()
    sudo: tuple[str, ...] = ()
    shell: str = "/bin/bash"
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuestFile:
    """A file to write on the VM's disk."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"


@dataclass(frozen=True)
class Setup:
    """Everything that is to be true of the disk before the VM boots."""

    users: tuple[User, ...]
    files: tuple[GuestFile, ...]
    runcmd: tuple[str, ...] = ()
    """Shell lines, run once."""
    ignored: tuple[str, ...] = field(default=())
    """Keys of the user data that have no effect in the lab."""


def instance_id(vm: VmSpec) -> str:
    """Identity of the instance: changes with what cloud-init is told, and then cloud-init starts afresh.

    Proxmox does the same with the hash of its generated data; custom user data counts too.
    """
    told = [vm.name, vm.user, vm.ssh_keys, [asdict(nic) for nic in vm.nics], vm.dns, vm.search, vm.custom_user_data]
    return hashlib.sha1(repr(told).encode()).hexdigest()


def setup(vm: VmSpec) -> Setup:
    """What cloud-init would do with this VM.

    Raises:
        UserDataError: the custom user data is no mapping, or a key of it has the wrong form.
    """
    data = user_data(vm)
    name = str(data.get("hostname") or str(data.get("fqdn", vm.name)).split(".")[0])
    fqdn = str(data.get("fqdn") or (f"{name}.{vm.search}" if vm.search else name))
    return Setup(
        users=tuple(_users(data, vm)),
        files=(
            GuestFile("/etc/hostname", f"{name}\n".encode()),
            GuestFile("/etc/hosts", hosts(name, fqdn).encode()),
            GuestFile("/etc/resolv.conf", resolv_conf(vm).encode()),
            *_write_files(data),
        ),
        runcmd=tuple(
            line if isinstance(line, str) else shlex.join(map(str, line)) for line in data.get("runcmd") or []
        ),
        ignored=tuple(sorted(data.keys() - KNOWN)),
    )


def user_data(vm: VmSpec) -> dict[str, Any]:
    """The `#cloud-config` in force: the custom one, which replaces the generated one altogether, or Proxmox's own."""
    if not vm.custom_user_data:
        return {
            "hostname": vm.name,
            "fqdn": f"{vm.name}.{vm.search}" if vm.search else vm.name,
            "users": ["default"] if vm.user else [],
            "user": vm.user,
            "ssh_authorized_keys": list(vm.ssh_keys),
        }
    if not vm.custom_user_data.startswith("#cloud-config"):
        raise UserDataError("user data: the first line must be `#cloud-config`; the lab runs nothing else")
    data = yaml.safe_load(vm.custom_user_data)
    if not isinstance(data, dict):
        raise UserDataError("user data: after `#cloud-config` there must be a mapping of keys")
    return data


def _users(data: dict[str, Any], vm: VmSpec) -> list[User]:
    shared = tuple(data.get("ssh_authorized_keys") or ())
    found = []
    for entry in data.get("users") or ["default"]:
        if entry == "default":
            # Debian's image calls its default user `debian`; Proxmox's ciuser renames it.
            name = str(data.get("user") or vm.user or "debian")
            found.append(User(name, shared, ("ALL=(ALL) NOPASSWD:ALL",), groups=("adm", "sudo")))
        elif isinstance(entry, dict) and "name" in entry:
            found.append(_user(entry))
        else:
            raise UserDataError(f"user data: users: `{entry}` is neither `default` nor a mapping with a `name`")
    return found


def _user(entry: dict[str, Any]) -> User:
    sudo = entry.get("sudo") or []
    groups = entry.get("groups") or []
    return User(
        name=str(entry["name"]),
        keys=tuple(entry.get("ssh_authorized_keys") or ()),
        sudo=(sudo,) if isinstance(sudo, str) else tuple(sudo),
        shell=str(entry.get("shell", "/bin/sh")),
        groups=tuple(g.strip() for g in groups.split(",")) if isinstance(groups, str) else tuple(groups),
    )


def _write_files(data: dict[str, Any]) -> list[GuestFile]:
    files = []
    for entry in data.get("write_files") or []:
        if not isinstance(entry, dict) or "path" not in entry:
            raise UserDataError(f"user data: write_files: `{entry}` has no `path`")
        content = str(entry.get("content", ""))
        encoded = entry.get("encoding", "text/plain") in {"b64", "base64"}
        files.append(
            GuestFile(
                path=str(entry["path"]),
                content=base64.b64decode(content) if encoded else content.encode(),
                mode=int(str(entry.get("permissions", "0644")), 8),
                owner=str(entry.get("owner", "root")).split(":")[0],
            )
        )
    return files


def hosts(name: str, fqdn: str) -> str:
    """/etc/hosts as Debian's cloud-init template has it."""
    names = name if fqdn == name else f"{fqdn} {name}"
    return f"127.0.1.1 {names}\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def resolv_conf(vm: VmSpec) -> str:
    """Name servers and search domain."""
    lines = [f"search {vm.search}"] if vm.search else []
    return "".join(f"{line}\n" for line in [*lines, *(f"nameserver {server}" for server in vm.dns)])


def passwd_lines(users: tuple[User, ...], first: int = FIRST_UID) -> tuple[str, str, str]:
    """Lines to add to passwd, shadow and group, with IDs counted up from `first`."""
    passwd, shadow, group = "", "", ""
    for uid, user in enumerate(users, first):
        passwd += f"{user.name}:x:{uid}:{uid}::/home/{user.name}:{user.shell}\n"
        shadow += f"{user.name}:*:19000:0:99999:7:::\n"
        group += f"{user.name}:x:{uid}:\n"
    return passwd, shadow, group


def ip_batch(vm: VmSpec) -> str:
    """Commands for `ip -batch` inside the VM: loopback, then each card with its address and gateway."""
    lines = ["link set lo up"]
    for index, nic in enumerate(vm.nics):
        card = f"eth{index}"
        if nic.address is not None:
            lines.append(f"address add {ip_interface(nic.address)} dev {card}")
        lines.append(f"link set {card} up")
        if nic.gateway is not None:
            lines.append(f"route replace default via {nic.gateway} dev {card} metric {100 + index}")
    return "".join(f"{line}\n" for line in lines)
