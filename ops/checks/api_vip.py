"""Which machine holds the API's address: one server at a time; if two answer there, clients are split between them (V2)."""

import json
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from config.hosts import Node, Role
from ops.clients.ssh import RemoteError, remotes
from ops.engine.engine import Engine

LISTEN_SECONDS = 0.6
"""Machines of one network answer within a few milliseconds; a busy one is given more."""
ARP = f"""
import json, re, socket, struct, subprocess, sys, time
address = socket.inet_aton(sys.argv[1])
route = subprocess.run(["ip", "-o", "route", "get", sys.argv[1]], capture_output=True, text=True).stdout
card = re.search(r"dev (\\S+)", route)[1]
own = card == "lo"
if own:
    shown = subprocess.run(["ip", "-o", "-4", "addr", "show"], capture_output=True, text=True).stdout
    card = next(line.split()[1] for line in shown.splitlines() if " " + sys.argv[1] + "/" in line)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as raw:
    raw.bind((card, 0))
    mac = raw.getsockname()[4]
    answers = {{mac.hex(":")}} if own else set()
    # A sender without an address: who holds it himself would else be taken to announce it, and nobody would answer.
    ask = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(10) + address
    raw.send(b"\\xff" * 6 + mac + struct.pack("!H", 0x0806) + ask)
    end = time.monotonic() + {LISTEN_SECONDS}
    while True:
        # What came meanwhile is read also when this process was not let run for so long.
        raw.settimeout(max(0, end - time.monotonic()))
        try:
            frame = raw.recv(64)
        except (TimeoutError, BlockingIOError):
            break
        if frame[20:22] == b"\\0\\2" and frame[28:32] == address:
            answers.add(frame[22:28].hex(":"))
print(json.dumps(sorted(answers)))
"""
"""Asks by ARP (a probe, RFC 5227) who has an address, and prints every MAC address that answers. Needs root and a Python, which
cloud-init brings to every machine of ours."""


def arp_script(address: IPv4Address) -> str:
    """Prints every MAC address that answers for an address, as a JSON list."""
    return f"python3 -c {shlex.quote(ARP)} {address}\n"


def address_conflict(address: IPv4Address, holders: Sequence[str], machines: Mapping[str, str]) -> str:
    """That several machines answer at the API's address, with the remedy; empty where at most one does.

    Args:
        address: The API's.
        holders: MAC addresses that answer for it.
        machines: Names of our machines by MAC address.
    """
    if len(holders) < 2:
        return ""
    names = ", ".join(f"{mac} ({machines.get(mac, 'not one of our machines')})" for mac in holders)
    return (
        f"the API address {address} is answered by {len(holders)} machines at once: {names}; remove it where it does "
        f"not belong (`ip addr del {address}/32`), or give the API another one: network.api-address"
    )


def find_problem(engine: Engine) -> str:
    """A conflict about the API's address, with the remedy; empty where there is none, or no machine of ours could be asked."""
    site = engine.stack.site
    # Workers first: they never hold it.
    nodes = sorted((node for node in engine.stack.nodes if node.in_cluster), key=lambda node: node.role is Role.SERVER)
    for remote in list(remotes(engine, tuple(nodes)).values())[:2]:
        try:
            holders = json.loads(remote.run(arp_script(site.network.api_address)))
        except RemoteError:
            continue
        return address_conflict(site.network.api_address, holders, names_by_mac(site.machines))
    return ""


def names_by_mac(machines: Sequence[Node]) -> dict[str, str]:
    """Names of machines by the MAC address of their card, in lower case."""
    return {str(machine.mac).lower(): machine.name for machine in machines}
