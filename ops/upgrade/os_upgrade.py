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
from ops.nodes.blockers import Word
from ops.nodes.facts import movable
from ops.upgrade.node_upgrade import Round, Turn, mark_of, order, refusals
from ops.upgrade.os_packages import Packages, notes, read, script
from ops.upgrade.plan import Member, members

AT_ONCE = 2
"""Agents at the same time: each takes its GPUs away from everybody while it reboots."""
ASK_AT_ONCE = 16
SHOWN = 3
"""Names of packages shown a node."""


@dataclass(frozen=True)
class Survey:
    """What all nodes lack.

    Attributes:
        members: The nodes as the cluster sees them.
        packages: What each lacks.
        silent: Why a node could not be asked.
        marked: Nodes in the middle of their turn.
    """

    members: list[Member]
    packages: dict[str, Packages]
    silent: dict[str, str]
    marked: set[str]

    @property
    def due(self) -> set[str]:
        """Nodes that have something to do."""
        return {name for name, one in self.packages.items() if one.due}


def survey(engine: Engine, kube: Kube) -> Survey:
    """Asks every node of the cluster, over SSH; their package lists are fetched."""
    nodes = kube.items("/api/v1/nodes")
    wanted = tuple(node for node in engine.stack.nodes if node.in_cluster)
    machines = remotes(engine, wanted)

    def ask(name: str) -> Packages | str:
        try:
            return read(machines[name].run(script("survey"), say=aside))
        except RemoteError as error:
            return str(error)

    with step(f"ask {len(machines)} machines for their packages"), ThreadPoolExecutor(ASK_AT_ONCE) as workers:
        answers = dict(zip(machines, workers.map(ask, machines), strict=True))
    return Survey(
        members=members(nodes, movable(kube.items("/api/v1/pods"))),
        packages={name: one for name, one in answers.items() if isinstance(one, Packages)},
        silent={name: one for name, one in answers.items() if isinstance(one, str)},
        marked={node["metadata"]["name"] for node in nodes if mark_of(node)},
    )


def show(engine: Engine, found: Survey) -> None:
    """The plan: who goes when, and what is worth knowing."""
    servers, agents = order(found.members, found.due, found.marked)
    if servers or agents:
        table = Table(
            "order", "node", "packages", "security", "reboot", "work", title="packages of the operating system"
        )
        for number, one in enumerate((*servers, *agents), start=1):
            table.add_row(str(number), *row(one, found.packages.get(one.name, Packages()), one.name in found.marked))
        console.print(table)
    console.print(f"{len(found.packages) - len(found.due)} node(s) lack no packages")
    site = engine.stack.site
    precompiled = site.platform.gpu_operator.precompiled
    gpu_nodes = frozenset(node.name for node in site.machines if node.gpus and site.platform.gpu_operator.enabled)
    for note in notes(found.packages, precompiled=precompiled, gpu_nodes=gpu_nodes):
        console.print(f"[yellow]![/] {note}")
    for name, why in found.silent.items():
        console.print(f"[yellow]![/] {name} could not be asked: {why}")
    if left := sorted(one.name for one in found.members if one.name in found.due and not one.well and not one.server):
        console.print(f"[yellow]![/] {', '.join(left)} not ready: left for a later run")


def row(one: Member, packages: Packages, marked: bool) -> list[str]:
    """One node's line."""
    names = [package.name for package in packages.pending]
    shown = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
    count = f"{len(names)}: {shown}" if names else "-"
    reboot = f"for {', '.join(packages.reboot)}" if packages.reboot else "yes" if packages.will_reboot else "if asked"
    work = f"{one.work} pods, {one.gpus} GPUs" if one.work else ""
    state = " (server)" if one.server else ""
    return [one.name + state + (", begun" if marked else ""), count, str(packages.security or "-"), reboot, work]


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        at_once: Agents at the same time.
        words: What may be given up.
        drain_seconds: How long each drain may take.
        paused: Whether somebody asked to stop after the present nodes.
    """

    at_once: int
    words: frozenset[Word]
    paused: Callable[[], bool]
    drain_seconds: float = drain.MINUTES * 60


def upgrade(engine: Engine, kube: Kube, wish: Wish) -> None:
    """Servers one by one, then agents; ends the command where a node is stuck, or had to be left as it was."""
    stack = engine.stack.name
    found = survey(engine, kube)
    show(engine, found)
    reasons = list(refusals(found.members, found.marked))
    for reason in reasons:
        errors.print(f"[red]✗[/] {reason}")
    if reasons:
        raise OperationRefusedError("nothing was touched")
    servers, agents = order(found.members, found.due, found.marked)
    if not servers and not agents:
        return
    names = [one.name for one in (*servers, *agents)]
    audit_log.record_operation(stack, "upgrade packages", {"nodes": names, "force": sorted(wish.words)})
    machines = remotes(engine, engine.stack.nodes)
    known = {node.name: node for node in engine.stack.nodes}
    turns = {
        one.name: Turn(
            one.name,
            one.server,
            kube,
            machines[one.name],
            expected(engine, known[one.name]),
            wish.words,
            wish.drain_seconds,
        )
        for one in (*servers, *agents)
        if one.name in machines
    }
    done = Round(wish.paused)
    done.go([turns[one.name] for one in servers if one.name in turns], 1)
    done.go([turns[one.name] for one in agents if one.name in turns], wish.at_once)
    _tell(stack, done)


def expected(engine: Engine, node: Node) -> dict[str, int]:
    """GPUs that a node offers when it is well; nothing is expected where the operator is not ours."""
    if not engine.stack.site.platform.gpu_operator.enabled:
        return {}
    return gpu_resources.offered([node])


def _tell(stack: str, done: Round) -> None:
    for text in done.left:
        errors.print(f"[yellow]![/] {text}")
    if done.stuck:
        waiting = f"\nnot begun: {', '.join(done.waiting)}" if done.waiting else ""
        raise LyceumError("\n".join(done.stuck) + waiting)
    if done.waiting:
        raise LyceumError(f"paused before {', '.join(done.waiting)}; ./lyceum upgrade apply {stack} --os goes on")
    if done.left:
        raise OperationRefusedError(
            f"{len(done.left)} node(s) were left as they were; ./lyceum upgrade apply {stack} --os tries again"
        )
