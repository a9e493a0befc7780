"""Removes nodes: checks blockers, records overrides, then decommissions one node at a time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from components.proxmox.client import PveError
from config.errors import LyceumError, OperationRefusedError
from ops import audit_log
from ops.clients.kubernetes import Kube
from ops.clients.proxmox import connect_proxmox
from ops.console import errors, print_detail
from ops.engine.engine import Engine
from ops.engine.pulumi_state import Vm
from ops.nodes import drain
from ops.nodes.blockers import Blocker, Override, find_blockers, quorum_blockers, quorum_size, unresolved
from ops.nodes.cluster import connect_to_cluster
from ops.nodes.decommission import API_SECONDS, Decommission
from ops.nodes.drain import DrainTimeoutError
from ops.nodes.facts import (
    NodeFacts,
    ceph_health_checks,
    gather_facts,
    is_deployment_ready,
    is_ready,
    is_server,
    osd_host,
)
from ops.nodes.vm import ForeignVmError
from ops.wait import WaitTimeoutError, retry

MAX_PARALLEL = 5
"""Agents that are decommissioned at the same time."""
DAEMON_CHECKS = {"MON_DOWN", "MGR_DOWN", "MDS_INSUFFICIENT_STANDBY"}
"""Ceph's health checks about daemons without data, which a drain moves; Rook replaces a monitor after ten minutes."""


@dataclass(frozen=True)
class RemovalRequest:
    """What `node remove`, `node replace` or `up --remove` asks for.

    Attributes:
        names: Machines to remove.
        operation: `remove` or `replace`, for the audit log.
        overrides: What may be lost.
        drain_seconds: How long each drain may take.
    """

    names: tuple[str, ...]
    operation: str
    overrides: frozenset[Override] = frozenset()
    drain_seconds: float = drain.DEFAULT_MINUTES * 60


def remove_nodes(engine: Engine, request: RemovalRequest, **details: str) -> None:
    """Drains the nodes, shuts down their VMs and removes them from the cluster; the engine deletes the VMs afterwards.

    Machines outside the cluster are only shut down, whether or not the cluster answers.

    Args:
        engine: The engine on the stack.
        request: What is asked for.
        details: More fields of the entry in the audit log.

    Raises:
        OperationRefusedError: quorum, data or work would be lost, or the API does not answer; nothing was changed.
        LyceumError: a step failed; a second call continues there.
    """
    known = engine.export().vms
    vms = [known[name] for name in request.names if name in known]
    outside = {vm.name for vm in vms if not vm.in_cluster}
    in_cluster = [name for name in request.names if name not in outside]
    kube = connect_to_cluster(engine) if in_cluster else None
    if kube is not None:
        # An API server that has just started answers 429 for some kinds.
        _refuse_if_blocked(request, retry("the API", API_SECONDS, lambda: _find_all_blockers(kube, in_cluster)))
    entry = {"nodes": list(request.names), "force": sorted(request.overrides), **details}
    audit_log.record_operation(engine.stack.name, request.operation, entry)
    pve = connect_proxmox(engine)
    servers = retry("the API", API_SECONDS, lambda: _list_servers(kube)) if kube else set()

    def decommission(vm: Vm) -> str:
        """Decommissions a machine; returns why it failed, or an empty text."""
        cluster = kube if vm.in_cluster else None
        try:
            Decommission(vm, cluster, pve, request.overrides, request.drain_seconds).run()
        except (DrainTimeoutError, WaitTimeoutError, ForeignVmError, PveError) as error:
            return str(error)
        return ""

    # Servers leave etcd one by one; agents go several at a time, as disruption budgets allow.
    with ThreadPoolExecutor(MAX_PARALLEL) as workers:
        failures = list(workers.map(decommission, [vm for vm in vms if vm.name not in servers]))
    for vm in vms:
        if kube is not None and vm.name in servers and not any(failures):
            # Another member may have failed since the first check.
            failures.append(_check_quorum(kube, vm.name) or decommission(vm))
    if texts := "\n".join(filter(None, failures)):
        raise LyceumError(
            f"{texts}\nNothing is lost; run the same command again to continue, or keep a node: ./lyceum node drain "
            f"{engine.stack.name} NAME --undo"
        )


def _list_servers(kube: Kube) -> set[str]:
    return {node["metadata"]["name"] for node in kube.items("/api/v1/nodes") if is_server(node)}


def _check_quorum(kube: Kube, name: str) -> str:
    """Reports how many members etcd has; returns why this one cannot be removed, or an empty text."""
    facts = retry("the API", API_SECONDS, lambda: gather_facts(kube, name))
    members = sum(map(is_server, facts.nodes))
    if facts.node is not None:
        print_detail(f"etcd has {members} members and needs {quorum_size(members)}; {name} is removed next")
    return "; ".join(f"{name}: {blocker.text}" for blocker in quorum_blockers(facts))


def _find_all_blockers(kube: Kube, names: list[str]) -> dict[str, list[Blocker]]:
    """Blockers by node, each node checked as if those before it were removed already."""
    found, removed = {}, set[str]()
    for name in names:
        facts = mark_removal_in_progress(gather_facts(kube, name), set(names))
        found[name] = find_blockers(without_nodes(facts, removed))
        removed.add(name)
    return found


def mark_removal_in_progress(facts: NodeFacts, names: set[str]) -> NodeFacts:
    """The facts with `removal_in_progress` set if Ceph warns only of what an interrupted removal of these nodes caused."""
    # The OSDs of a node that is not Ready are down, even before the API marks one pod after the other.
    unready = {node["metadata"]["name"] for node in facts.nodes if not is_ready(node)}
    down = {osd_host(osd) for osd in facts.osds if not is_deployment_ready(osd) or osd_host(osd) in unready}
    drained = facts.node is not None and drain.is_cordoned(facts.node)
    only_daemons = set(ceph_health_checks(facts)) <= DAEMON_CHECKS
    return replace(facts, removal_in_progress=down <= names and (bool(down) or (drained and only_daemons)))


def without_nodes(facts: NodeFacts, names: set[str]) -> NodeFacts:
    """The facts as they would be without other nodes."""
    return replace(
        facts,
        nodes=[node for node in facts.nodes if node["metadata"]["name"] not in names],
        osds=[osd for osd in facts.osds if osd_host(osd) not in names],
    )


def _refuse_if_blocked(request: RemovalRequest, found: dict[str, list[Blocker]]) -> None:
    remaining = [
        (name, blocker) for name, blockers in found.items() for blocker in unresolved(blockers, request.overrides)
    ]
    if not remaining:
        return
    for name, blocker in remaining:
        errors.print(f"[red]✗[/] {name}: {blocker.text}")
    overrides = sorted({blocker.override for _, blocker in remaining if blocker.override})
    final = any(blocker.override is None for _, blocker in remaining)
    remedy = "" if final else f"; to accept the loss: {' '.join(f'--force {override}' for override in overrides)}"
    raise OperationRefusedError(f"{', '.join(request.names)}: nothing was changed{remedy}")
