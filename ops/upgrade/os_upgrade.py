"""`lyceum upgrade apply --os`: asks every node what it lacks, and gives each its turn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.table import Table

from components import gpu_resources
from config.errors import LyceumError, OperationRefusedError
from config.hosts import Node
from ops import audit_log
from ops.clients.kubernetes import Kube
from ops.clients.ssh import RemoteError, remotes
from ops.console import aside, console, errors, step
from ops.engine.engine import Engine
from ops.nodes import drain
from ops.nodes.blockers import Override
from ops.nodes.facts import evictable_pods
from ops.upgrade.node_upgrade import NodeUpgrade, UpgradeRun, find_blockers, order_nodes, upgrade_mark
from ops.upgrade.os_packages import NodePackages, notes, package_script, parse_survey
from ops.upgrade.plan import ClusterNode, read_nodes

MAX_PARALLEL = 2
"""Agents at the same time: each takes its GPUs away from everybody while it reboots."""
MAX_PARALLEL_QUERIES = 16
MAX_NAMES = 3
"""Names of packages shown a node."""


@dataclass(frozen=True)
class Survey:
    """What all nodes lack.

    Attributes:
        nodes: The nodes as the cluster sees them.
        packages: What each lacks.
        unreachable: Why a node could not be asked.
        marked: Nodes in the middle of their turn.
    """

    nodes: list[ClusterNode]
    packages: dict[str, NodePackages]
    unreachable: dict[str, str]
    marked: set[str]

    @property
    def due(self) -> set[str]:
        """Nodes that have something to do."""
        return {name for name, one in self.packages.items() if one.needs_upgrade}


def survey_nodes(engine: Engine, kube: Kube) -> Survey:
    """Asks every node of the cluster, over SSH; their package lists are fetched."""
    nodes = kube.items("/api/v1/nodes")
    wanted = tuple(node for node in engine.stack.nodes if node.in_cluster)
    machines = remotes(engine, wanted)

    def ask(name: str) -> NodePackages | str:
        try:
            return parse_survey(machines[name].run(package_script("survey"), say=aside))
        except RemoteError as error:
            return str(error)

    with step(f"ask {len(machines)} machines for their packages"), ThreadPoolExecutor(MAX_PARALLEL_QUERIES) as workers:
        answers = dict(zip(machines, workers.map(ask, machines), strict=True))
    return Survey(
        nodes=read_nodes(nodes, evictable_pods(kube.items("/api/v1/pods"))),
        packages={name: one for name, one in answers.items() if isinstance(one, NodePackages)},
        unreachable={name: one for name, one in answers.items() if isinstance(one, str)},
        marked={node["metadata"]["name"] for node in nodes if upgrade_mark(node)},
    )


def show_survey(engine: Engine, found: Survey) -> None:
    """The plan: who goes when, and what is worth knowing."""
    servers, agents = order_nodes(found.nodes, found.due, found.marked)
    if servers or agents:
        table = Table(
            "order", "node", "packages", "security", "reboot", "work", title="packages of the operating system"
        )
        for number, one in enumerate((*servers, *agents), start=1):
            table.add_row(
                str(number), *node_row(one, found.packages.get(one.name, NodePackages()), one.name in found.marked)
            )
        console.print(table)
    console.print(f"{len(found.packages) - len(found.due)} node(s) lack no packages")
    site = engine.stack.site
    precompiled = site.platform.gpu_operator.precompiled
    gpu_nodes = frozenset(node.name for node in site.machines if node.gpus and site.platform.gpu_operator.enabled)
    for note in notes(found.packages, precompiled=precompiled, gpu_nodes=gpu_nodes):
        console.print(f"[yellow]![/] {note}")
    for name, why in found.unreachable.items():
        console.print(f"[yellow]![/] {name} could not be asked: {why}")
    if left := sorted(one.name for one in found.nodes if one.name in found.due and not one.healthy and not one.server):
        console.print(f"[yellow]![/] {', '.join(left)} not ready: left for a later run")


def node_row(one: ClusterNode, packages: NodePackages, marked: bool) -> list[str]:
    """One node's line."""
    names = [package.name for package in packages.pending]
    shown = ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")
    count = f"{len(names)}: {shown}" if names else "-"
    reboot = f"for {', '.join(packages.reboot)}" if packages.reboot else "yes" if packages.will_reboot else "if asked"
    work = f"{one.workloads} pods, {one.gpus} GPUs" if one.workloads else ""
    state = " (server)" if one.server else ""
    return [one.name + state + (", begun" if marked else ""), count, str(packages.security_count or "-"), reboot, work]


@dataclass(frozen=True)
class OsUpgradeRequest:
    """What is asked for.

    Attributes:
        max_parallel: Agents at the same time.
        overrides: What may be given up.
        drain_seconds: How long each drain may take.
        is_paused: Whether somebody asked to stop after the present nodes.
    """

    max_parallel: int
    overrides: frozenset[Override]
    is_paused: Callable[[], bool]
    drain_seconds: float = drain.DEFAULT_MINUTES * 60


def upgrade_packages(engine: Engine, kube: Kube, wish: OsUpgradeRequest) -> None:
    """Servers one by one, then agents; ends the command where a node is stuck, or had to be left as it was."""
    stack = engine.stack.name
    found = survey_nodes(engine, kube)
    show_survey(engine, found)
    reasons = list(find_blockers(found.nodes, found.marked))
    for reason in reasons:
        errors.print(f"[red]✗[/] {reason}")
    if reasons:
        raise OperationRefusedError("nothing was touched")
    servers, agents = order_nodes(found.nodes, found.due, found.marked)
    if not servers and not agents:
        return
    names = [one.name for one in (*servers, *agents)]
    audit_log.record_operation(stack, "upgrade packages", {"nodes": names, "force": sorted(wish.overrides)})
    machines = remotes(engine, engine.stack.nodes)
    known = {node.name: node for node in engine.stack.nodes}
    turns = {
        one.name: NodeUpgrade(
            one.name,
            one.server,
            kube,
            machines[one.name],
            expected_gpus(engine, known[one.name]),
            wish.overrides,
            wish.drain_seconds,
        )
        for one in (*servers, *agents)
        if one.name in machines
    }
    done = UpgradeRun(wish.is_paused)
    done.run([turns[one.name] for one in servers if one.name in turns], 1)
    done.run([turns[one.name] for one in agents if one.name in turns], wish.max_parallel)
    _report_run(stack, done)


def expected_gpus(engine: Engine, node: Node) -> dict[str, int]:
    """GPUs that a node offers when it is well; nothing is expected where the operator is not ours."""
    if not engine.stack.site.platform.gpu_operator.enabled:
        return {}
    return gpu_resources.offered_resources([node])


def _report_run(stack: str, done: UpgradeRun) -> None:
    for text in done.skipped:
        errors.print(f"[yellow]![/] {text}")
    if done.stuck:
        waiting = f"\nnot begun: {', '.join(done.not_started)}" if done.not_started else ""
        raise LyceumError("\n".join(done.stuck) + waiting)
    if done.not_started:
        raise LyceumError(f"paused before {', '.join(done.not_started)}; ./lyceum upgrade apply {stack} --os goes on")
    if done.skipped:
        raise OperationRefusedError(
            f"{len(done.skipped)} node(s) were left as they were; ./lyceum upgrade apply {stack} --os tries again"
        )
