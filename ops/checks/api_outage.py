"""Why the cluster's API does not answer, and the remedy (faults Q1, Q5, V2)."""

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


def explain_outage(engine: Engine) -> str:
    """Why the API is silent, with the remedy; empty where nobody knows.

    Servers that are off are reported first: without quorum K3s on the others cannot answer. Then a full etcd, with which K3s
    restarts again and again and cannot renew the lease of the API's address. K3s not answering is the weakest sign.
    """
    stack, servers = engine.stack.name, find_joined_servers(engine)
    with ThreadPoolExecutor(8) as workers:
        silent = dict(zip(servers, workers.map(lambda one: k3s_problem(one[0]), servers.values()), strict=True))
    stopped = {name: silent[name] and vm_problem(engine, vm) for name, (_, vm) in servers.items()}
    down = {name: stopped[name] or silent[name] for name in servers}
    return (
        quorum_problem(stack, stopped)
        or etcd.find_problem(engine)
        or quorum_problem(stack, down)
        or api_vip.find_problem(engine)
    )


def find_joined_servers(engine: Engine) -> dict[str, tuple[Node, Vm | None]]:
    """Servers of a stack that have joined the cluster, with their VMs.

    One that never did, or that a destroy has deleted already, has no vote that could be missing.
    """
    state = engine.export()
    joined, vms = state.k3s_commands, state.vms
    servers = [node for node in engine.stack.nodes if node.role is Role.SERVER and node.name in joined]
    return {node.name: (node, vms.get(node.name)) for node in servers}


def quorum_problem(stack: str, servers: Mapping[str, str]) -> str:
    """That etcd has lost its quorum, with the remedy; empty while more than half of the servers are up.

    Args:
        stack: The stack.
        servers: Why each is down, by name; empty for one that is up.
    """
    down = {name: why for name, why in servers.items() if why}
    if not servers or len(servers) - len(down) > len(servers) // 2:
        return ""
    return (
        f"{len(down)} of {len(servers)} servers are down ({', '.join(f'{name}: {why}' for name, why in down.items())}): etcd "
        f"has no quorum, so nothing in the cluster can be changed. Nothing was changed. Switch them on in Proxmox, and the "
        f"cluster recovers by itself; if their disks are lost: ./lyceum restore {stack} --dry-run shows what a restore would do"
    )


def vm_problem(engine: Engine, server: Vm | None) -> str:
    """Why a server's VM does not run; empty if it runs, or if Proxmox does not answer."""
    if server is None:
        return "has no VM"
    try:
        found = vm.find_vm(connect_proxmox(engine), server)
    except PveError:
        return ""
    except ForeignVmError as error:
        return str(error)
    if found is None:
        return "its VM was deleted"
    return "switched off" if found["status"] == "stopped" else ""


def k3s_problem(node: Node) -> str:
    """That K3s does not accept connections; empty if it does."""
    with suppress(OSError), socket.create_connection((str(node.address), API_PORT), SECONDS):
        return ""
    return f"K3s does not answer on {node.address}"
