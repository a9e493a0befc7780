"""The campus network as commands for `ip -batch`: one bridge, addresses of everything the lab serves, no way out.

Text builders are pure; `run_ip` runs them.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_interface

from lab.contracts import LabSpec, Nic

PVE_PORT = 8006
MIRROR_PORT = 8443
REGISTRY_PORT = 5000
"""Images, on the mirror's address, without TLS."""


class NetworkError(Exception):
    """`run_ip` refused; the text holds its answer and the commands."""


def campus_lines(spec: LabSpec) -> list[str]:
    """Bridges of the Proxmox nodes; the first carries the addresses of all that the lab serves."""
    bridges = list(dict.fromkeys(bridge for node in spec.nodes for bridge in node.bridges))
    prefix = spec.cidr.prefixlen
    served = [str(spec.gateway), *(node.address for node in spec.nodes), str(spec.mirror)]
    served += [str(one.address) for one in (spec.store, spec.login) if one]
    return [
        "link set lo up",
        # Without a forwarding delay a port passes traffic at once (the kernel's default is 15 s with STP only).
        *(f"link add {bridge} type bridge forward_delay 0" for bridge in bridges),
        *(f"address add {address}/{prefix} dev {bridges[0]}" for address in dict.fromkeys(served)),
        *(f"link set {bridge} up" for bridge in bridges),
    ]


def card_name(vmid: int, index: int) -> str:
    """The campus end of a VM's card; the kernel allows 15 characters."""
    return f"vm{vmid}i{index}"


def segment(spec: LabSpec, nic: Nic) -> tuple[str, str | None]:
    """The bridge that carries a card's traffic, and the address the campus router has there.

    A VLAN is a bridge of its own, which isolates as a tag does. A tag whose gateway lies in the campus network names
    that network itself, because the lab's own addresses are in it.
    """
    gateway = nic.gateway and ip_interface(nic.gateway).ip
    if nic.vlan is None or gateway is None or gateway in spec.cidr:
        return nic.bridge, None
    prefix = ip_interface(nic.address).network.prefixlen if nic.address else 32
    return f"{nic.bridge}v{nic.vlan}", f"{gateway}/{prefix}"


def plug_lines(spec: LabSpec, vmid: int, pid: int, nics: Sequence[Nic], present: set[str]) -> list[str]:
    """Connect a VM's cards to their bridges; `present` are the names of the campus's cards as they are."""
    lines = []
    made = set(present)
    for index, nic in enumerate(nics):
        name = card_name(vmid, index)
        bridge, router = segment(spec, nic)
        if bridge not in made:
            lines.append(f"link add {bridge} type bridge forward_delay 0")
            lines += [f"address add {router} dev {bridge}"] if router else []
            lines.append(f"link set {bridge} up")
            made.add(bridge)
        lines.append(f"link add {name} type veth peer name eth{index} address {nic.mac} netns {pid}")
        lines.append(f"link set {name} master {bridge} up")
    return lines


def unplug_lines(vmid: int, present: set[str]) -> list[str]:
    """Remove cards of an earlier run of the VM: the kernel takes its time to clear a network namespace."""
    return [f"link delete {name}" for name in sorted(present) if name.startswith(f"vm{vmid}i")]


def list_interfaces() -> set[str]:
    """Names of the network cards of this namespace."""
    return {name for _, name in socket.if_nameindex()}


async def run_ip(lines: Sequence[str], *, tolerant: bool = False) -> None:
    """Run commands in this network namespace; `tolerant` goes on after those that fail.

    Raises:
        NetworkError: a command failed.
    """
    if not lines:
        return
    process = await asyncio.create_subprocess_exec(
        "ip", *(["-force"] if tolerant else []), "-batch", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate("".join(f"{line}\n" for line in lines).encode())
    if process.returncode and not tolerant:
        raise NetworkError(f"ip: {errors.decode().strip()}; commands: {'; '.join(lines)}")
