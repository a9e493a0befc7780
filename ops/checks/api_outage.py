"""Why the cluster's API does not answer, and what to do about it (faults Q1, Q5, V2)."""

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from components.proxmox.client import PveError
from config.hosts import Node, Role
from ops.checks import api_vip
from ops.clients import etcd
from ops.clients.proxmox import connect_proxmox
from ops.engine.engine import Engine
from ops.engine.pulumi_state import Vm
from ops.nodes import vm
from ops.nodes.vm import ForeignVmError

API_PORT = 6443
SECONDS = 3.0


def reason(engine: Engine) -> str:
    """Why the API is silent, with the remedy; empty where nobody knows.

    Servers that are off are reported first: without quorum K3s on the others cannot answer. Then a full etcd, with which K3s
    restarts again and again and cannot renew the lease of the API's address. K3s not answering is the weakest sign.
    """
    stack, servers = engine.stack.name, founded(engine)
    with ThreadPoolExecutor(8) as workers:
        silent = dict(zip(servers, workers.map(lambda one: silence(one[0]), servers.values()), strict=True))
    off = {name: silent[name] and why_off(engine, vm) for name, (_, vm) in servers.items()}
    down = {name: off[name] or silent[name] for name in servers}
    return told(stack, off) or etcd.find_problem(engine) or told(stack, down) or api_vip.trouble(engine)


def founded(engine: Engine) -> dict[str, tuple[Node, Vm | None]]:
    """Servers of a stack that have ever been in the cluster, with their VMs.

    One that never was, or that a destroy has taken away already, has no vote that could be missing.
    """
    state = engine.export()
    there, known = state.k3s_commands, state.vms
    servers = [node for node in engine.stack.nodes if node.role is Role.SERVER and node.name in there]
    return {node.name: (node, known.get(node.name)) for node in servers}


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


def why_off(engine: Engine, server: Vm | None) -> str:
    """Why a server has no machine that runs; empty if it has one, or Proxmox does not tell."""
    if server is None:
        return "has no VM"
    try:
        there = vm.find_vm(connect_proxmox(engine), server)
    except PveError:
        return ""
    except ForeignVmError as error:
        return str(error)
    if there is None:
        return "its VM is gone"
    return "switched off" if there["status"] == "stopped" else ""


def silence(node: Node) -> str:
    """That K3s does not take connections; empty if it does."""
    with suppress(OSError), socket.create_connection((str(node.address), API_PORT), SECONDS):
        return ""
    return f"K3s does not answer on {node.address}"
