"""What cloud-init writes for a VM's configuration: its account, keys, network and files, as data.

Pure: a `VmSpec` in, files out. It does what Proxmox's generated user data asks for; snippets (`cicustom`) are not read.
"""

import hashlib
from dataclasses import asdict, dataclass
from ipaddress import ip_interface

from lab.contracts import VmSpec

FIRST_UID = 1000
GROUPS = ("adm", "sudo")
"""Groups of the default user."""
SUDO = "ALL=(ALL) NOPASSWD:ALL"
"""sudoers rule of the default user, without the name."""


@dataclass(frozen=True)
class GuestFile:
    """A file to write on the VM's disk."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root"


def instance_id(vm: VmSpec) -> str:
    """Identity of the instance: changes with cloud-init's settings, and then cloud-init starts afresh.

    Proxmox does the same with the hash of its generated data.
    """
    settings = [vm.name, vm.user, vm.ssh_keys, [asdict(nic) for nic in vm.nics], vm.dns, vm.search]
    return hashlib.sha1(repr(settings).encode()).hexdigest()


def default_user(vm: VmSpec) -> str:
    """Name of the account that gets the keys; Debian's image calls it `debian` unless `ciuser` renames it."""
    return vm.user or "debian"


def system_files(vm: VmSpec) -> tuple[GuestFile, ...]:
    """Host name, hosts and name servers."""
    fqdn = f"{vm.name}.{vm.search}" if vm.search else vm.name
    return (
        GuestFile("/etc/hostname", f"{vm.name}\n".encode()),
        GuestFile("/etc/hosts", hosts_file(vm.name, fqdn).encode()),
        GuestFile("/etc/resolv.conf", resolv_conf_file(vm).encode()),
    )


def hosts_file(name: str, fqdn: str) -> str:
    """/etc/hosts as Debian's cloud-init template has it."""
    names = name if fqdn == name else f"{fqdn} {name}"
    return f"127.0.1.1 {names}\n127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def resolv_conf_file(vm: VmSpec) -> str:
    """Name servers and search domain."""
    lines = [f"search {vm.search}"] if vm.search else []
    return "".join(f"{line}\n" for line in [*lines, *(f"nameserver {server}" for server in vm.dns)])


def account_lines(user: str, uid: int) -> tuple[str, str, str]:
    """The lines of a new account in passwd, shadow and group."""
    return (f"{user}:x:{uid}:{uid}::/home/{user}:/bin/bash\n", f"{user}:*:19000:0:99999:7:::\n", f"{user}:x:{uid}:\n")


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
