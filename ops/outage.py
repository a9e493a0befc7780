"""Why the cluster's API does not answer, and what to do about it (faults Q1, Q5, V2)."""

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from components.hosts.pve import PveError
from config.hosts import Node, Role
from ops import address, etcd
from ops.engine import Engine
from ops.nodes import machine
from ops.nodes.machine import Machine, NotOursError
from ops.settle import proxmox

API_PORT = 6443
SECONDS = 3.0


def reason(engine: Engine) -> str:
    """Why the API is silent, with the remedy; empty where nobody knows.

    A full etcd silences it as well: the lease of the API's address cannot be renewed, so every server drops the address.
    """
    return lost(engine) or etcd.trouble(engine) or address.trouble(engine)


def lost(engine: Engine) -> str:
    """Why the API is silent, where the reason is that etcd has no majority; else empty."""
    state = engine.export()
    founded = machine.k3s_commands(state)
    # A server that never was, or that a destroy has taken away already, has no vote that could be missing.
    servers = [node for node in engine.stack.nodes if node.role is Role.SERVER and node.name in founded]
    known = machine.machines(state)
    with ThreadPoolExecutor(8) as workers:
        found = workers.map(lambda node: why_down(engine, node, known.get(node.name)), servers)
        return told(engine.stack.name, dict(zip((node.name for node in servers), found, strict=True)))


def told(stack: str, servers: Mapping[str, str]) -> str:
    """The sentence for people; empty while more than half of the servers are up.

    Args:
        stack: The stack.
        servers: Why each is down, by name; empty for one that is up.
    """
    down = {name: why for name, why in servers.items() if why}
    if not servers or len(servers) - len(down) > len(servers) // 2:
        return ""
    return (
        f"{len(down)} of {len(servers)} servers are down ({', '.join(f'{name}: {why}' for name, why in down.items())}): etcd "
        f"has no majority, so nothing in the cluster can be changed. Nothing was touched. Switch them on in Proxmox, and the "
        f"cluster comes back by itself; if their disks are lost: ./lyceum restore {stack} --dry-run says what a restore would do"
    )


def why_down(engine: Engine, node: Node, vm: Machine | None) -> str:
    """Why a server does not serve; empty if it does."""
    with suppress(OSError), socket.create_connection((str(node.address), API_PORT), SECONDS):
        return ""
    if vm is None:
        return "has no VM"
    try:
        there = machine.look(proxmox(engine), vm)
    except (PveError, NotOursError) as error:
        return str(error)
    if there is None:
        return "its VM is gone"
    return "switched off" if there["status"] == "stopped" else f"K3s does not answer on {node.address}"
