"""Lets nodes leave: asks what speaks against it, writes down the word, says goodbye to one after the other."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from components.proxmox.client import PveError
from config.errors import LyceumError, OperationRefusedError
from ops import audit_log
from ops.checks import api_outage
from ops.clients.kubernetes import MOVE_SECONDS, Kube
from ops.clients.proxmox import connect_proxmox
from ops.console import aside, errors
from ops.engine.engine import Engine
from ops.engine.pulumi_state import Vm
from ops.nodes import drain
from ops.nodes.blockers import Blocker, Override, find_blockers, quorum_blockers, quorum_size, unresolved
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
"""Nodes without a vote that leave at the same time."""
DAEMON_CHECKS = {"MON_DOWN", "MGR_DOWN", "MDS_INSUFFICIENT_STANDBY"}
"""Ceph's health checks about daemons without copies, which a drain moves; a monitor comes back after ten minutes (Rook)."""


@dataclass(frozen=True)
class RemovalRequest:
    """What is asked for.

    Attributes:
        names: Machines that leave.
        operation: `remove` or `replace`, for the journal.
        overrides: What may be given up.
        drain_seconds: How long each drain may take.
    """

    names: tuple[str, ...]
    operation: str
    overrides: frozenset[Override] = frozenset()
    drain_seconds: float = drain.DEFAULT_MINUTES * 60


def remove_nodes(engine: Engine, wish: RemovalRequest, **facts: str) -> None:
    """Drains, switches off and forgets the machines; their VMs are left for the engine to delete.

    Machines outside the cluster are only switched off, and leave whether or not it answers. Ends the command with REFUSED,
    before anything is touched, where quorum, data or work would be lost.
    """
    known = engine.export().vms
    going = [known[name] for name in wish.names if name in known]
    outside = {machine.name for machine in going if not machine.in_cluster}
    members = tuple(name for name in wish.names if name not in outside)
    kube = connect_to_cluster(engine) if members else None
    if kube is not None:
        # An API server that has just started answers "later" for some kinds.
        _refuse_if_blocked(retry("the API", API_SECONDS, lambda: _find_all_blockers(kube, members)), wish)
    audit_log.record_operation(
        engine.stack.name, wish.operation, {"nodes": list(wish.names), "force": sorted(wish.overrides), **facts}
    )
    pve = connect_proxmox(engine)
    voters = retry("the API", API_SECONDS, lambda: _server_names(kube)) if kube else set()

    def say(machine: Vm) -> str:
        try:
            Decommission(machine, kube if machine.in_cluster else None, pve, wish.overrides, wish.drain_seconds).run()
        except (DrainTimeoutError, WaitTimeoutError, ForeignVmError, PveError) as error:
            return str(error)
        return ""

    # Votes go one by one; nodes without one leave a few at a time, as budgets allow.
    with ThreadPoolExecutor(MAX_PARALLEL) as workers:
        troubles = list(workers.map(say, [machine for machine in going if machine.name not in voters]))
    for machine in going:
        if kube is not None and machine.name in voters and not any(troubles):
            # Another member may have died since the first question.
            troubles.append(_check_quorum(kube, machine.name) or say(machine))
    if said := "\n".join(filter(None, troubles)):
        raise LyceumError(
            f"{said}\nNothing is lost; run the same command again to go on, or keep a node: ./lyceum node drain "
            f"{engine.stack.name} NAME --undo"
        )


def _server_names(kube: Kube) -> set[str]:
    return {node["metadata"]["name"] for node in kube.items("/api/v1/nodes") if is_server(node)}


def _check_quorum(kube: Kube, name: str) -> str:
    """Says how many members stay; returns why this one must not go."""
    picture = retry("the API", API_SECONDS, lambda: gather_facts(kube, name))
    members = sum(map(is_server, picture.nodes))
    if picture.node is not None:
        aside(f"etcd has {members} members and needs {quorum_size(members)}; {name} is the next to go")
    return "; ".join(f"{name}: {objection.text}" for objection in quorum_blockers(picture))


def connect_to_cluster(engine: Engine) -> Kube | None:
    """The cluster; None where the stack never had one.

    Ends the command where there is one and it does not answer: what a node holds cannot be known then.
    """
    kube = Kube.of(engine, MOVE_SECONDS)
    if kube is None and engine.kubeconfig():
        raise OperationRefusedError(
            api_outage.reason(engine)
            or f"the API of {engine.stack.site.title} does not answer, so nobody knows what the node holds. "
            f"./lyceum status {engine.stack.name}; to take everything away: ./lyceum destroy"
        )
    return kube


def _find_all_blockers(kube: Kube, names: tuple[str, ...]) -> dict[str, list[Blocker]]:
    """Objections by node, each as if those before it had left already."""
    found, gone = {}, set[str]()
    for name in names:
        found[name] = find_blockers(without_nodes(mark_removal_in_progress(gather_facts(kube, name), set(names)), gone))
        gone.add(name)
    return found


def mark_removal_in_progress(picture: NodeFacts, leaving: set[str]) -> NodeFacts:
    """The picture with the note whether Ceph warns only of what a goodbye of these nodes has begun: see `handing_over`."""
    # A node that falls silent takes its OSDs with it, before the API says so of one pod after the other.
    silent = {node["metadata"]["name"] for node in picture.nodes if not is_ready(node)}
    down = {osd_host(osd) for osd in picture.osds if not is_deployment_ready(osd) or osd_host(osd) in silent}
    moved = (
        picture.node is not None
        and drain.is_cordoned(picture.node)
        and set(ceph_health_checks(picture)) <= DAEMON_CHECKS
    )
    return replace(picture, removal_in_progress=down <= leaving and (bool(down) or moved))


def without_nodes(picture: NodeFacts, gone: set[str]) -> NodeFacts:
    """The picture when other nodes have left."""
    return replace(
        picture,
        nodes=[node for node in picture.nodes if node["metadata"]["name"] not in gone],
        osds=[osd for osd in picture.osds if osd_host(osd) not in gone],
    )


def _refuse_if_blocked(found: dict[str, list[Blocker]], wish: RemovalRequest) -> None:
    left = {name: unresolved(reasons, set(wish.overrides)) for name, reasons in found.items()}
    if not any(left.values()):
        return
    for name, reasons in left.items():
        for reason in reasons:
            errors.print(f"[red]✗[/] {name}: {reason.text}")
    words = sorted({reason.override for reasons in left.values() for reason in reasons if reason.override})
    final = any(reason.override is None for reasons in left.values() for reason in reasons)
    remedy = "" if final else f"; to give it up all the same: {' '.join(f'--force {word}' for word in words)}"
    raise OperationRefusedError(f"{', '.join(wish.names)} stays: nothing was touched{remedy}")
