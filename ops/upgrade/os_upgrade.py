"""`lyceum upgrade apply --os`: reads the state of the packages on every node, and upgrades one node after another."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.table import Column, Table

from components import gpu_resources
from config.errors import LyceumError, OperationRefusedError
from config.hosts import Node
from config.site import Site
from ops import audit_log
from ops.clients.kubernetes import Kube
from ops.clients.ssh import RemoteError, remotes
from ops.console import console, errors, print_detail, step
from ops.engine.engine import Engine
from ops.nodes import drain
from ops.nodes.blockers import Override, format_workloads
from ops.nodes.facts import evictable_pods
from ops.upgrade.node_upgrade import NodeUpgrade, UpgradeRun, order_nodes, upgrade_mark
from ops.upgrade.os_packages import NodePackages, find_warnings, package_script, parse_survey
from ops.upgrade.plan import ClusterNode, find_unhealthy_servers, read_nodes

MAX_PARALLEL = 2
"""Agents upgraded at the same time: the GPUs of each are unavailable while it reboots."""
MAX_PARALLEL_QUERIES = 16
MAX_NAMES = 3
"""Names of packages shown for each node."""


@dataclass(frozen=True)
class Survey:
    """The state of the packages on all nodes.

    Attributes:
        nodes: The nodes of the cluster.
        packages: The state of the packages, by node.
        unreachable: Why a node could not be queried, by node.
        marked: Nodes with an unfinished upgrade.
    """

    nodes: list[ClusterNode]
    packages: dict[str, NodePackages]
    unreachable: dict[str, str]
    marked: set[str]

    @property
    def due(self) -> set[str]:
        """Nodes that need an upgrade."""
        return {name for name, packages in self.packages.items() if packages.needs_upgrade}


def survey_nodes(engine: Engine, kube: Kube) -> Survey:
    """Reads the state of the packages on every node over SSH; updates the nodes' package lists."""
    nodes = kube.items("/api/v1/nodes")
    machines = remotes(engine, tuple(node for node in engine.stack.nodes if node.in_cluster))

    def query(name: str) -> NodePackages | str:
        try:
            return parse_survey(machines[name].run(package_script("survey"), say=print_detail))
        except RemoteError as error:
            return str(error)

    with (
        step(f"query the packages of {len(machines)} machines"),
        ThreadPoolExecutor(MAX_PARALLEL_QUERIES) as workers,
    ):
        answers = dict(zip(machines, workers.map(query, machines), strict=True))
    return Survey(
        nodes=read_nodes(nodes, evictable_pods(kube.items("/api/v1/pods"))),
        packages={name: answer for name, answer in answers.items() if isinstance(answer, NodePackages)},
        unreachable={name: answer for name, answer in answers.items() if isinstance(answer, str)},
        marked={node["metadata"]["name"] for node in nodes if upgrade_mark(node)},
    )


def show_survey(engine: Engine, survey: Survey) -> None:
    """Prints which nodes would be upgraded in which order, and the warnings."""
    servers, agents = order_nodes(survey.nodes, survey.due, survey.marked)
    if servers or agents:
        table = Table(
            "#",
            "node",
            Column("packages", overflow="fold"),
            "security",
            "reboot",
            "work",
            title="packages of the operating system",
        )
        for number, node in enumerate((*servers, *agents), start=1):
            packages = survey.packages.get(node.name, NodePackages())
            table.add_row(str(number), *node_row(node, packages, node.name in survey.marked))
        console.print(table)
    console.print(f"{len(survey.packages) - len(survey.due)} node(s) need no package upgrade")
    site = engine.stack.site
    precompiled = site.platform.gpu_operator.precompiled
    gpu_nodes = frozenset(node.name for node in site.machines if node.gpus and site.platform.gpu_operator.enabled)
    for warning in find_warnings(survey.packages, precompiled=precompiled, gpu_nodes=gpu_nodes):
        console.print(f"[yellow]![/] {warning}")
    for name, why in survey.unreachable.items():
        console.print(f"[yellow]![/] {name} could not be queried: {why}")
    due = (node for node in survey.nodes if node.name in survey.due)
    if unready := sorted(node.name for node in due if not node.healthy and not node.server):
        console.print(f"[yellow]![/] {', '.join(unready)} not ready: skipped, a later run upgrades them")


def node_row(node: ClusterNode, packages: NodePackages, marked: bool) -> list[str]:
    """The row of one node in the table of the survey."""
    names = [package.name for package in packages.pending]
    first = ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")
    pending = f"{len(names)}: {first}" if names else "-"
    reboot = (
        f"for {', '.join(packages.reboot)}" if packages.reboot else "yes" if packages.will_reboot else "if required"
    )
    work = format_workloads(node.workloads, node.gpus)
    title = node.name + (" (server)" if node.server else "") + (", started" if marked else "")
    return [title, pending, str(packages.security_count or "-"), reboot, work]


@dataclass(frozen=True)
class OsUpgradeRequest:
    """What `upgrade apply --os` asks for.

    Attributes:
        max_parallel: Agents upgraded at the same time.
        overrides: What may be lost.
        drain_seconds: How long each drain may take.
        is_paused: Whether a pause was requested: the current nodes finish, no other starts.
    """

    max_parallel: int
    overrides: frozenset[Override]
    is_paused: Callable[[], bool]
    drain_seconds: float = drain.DEFAULT_MINUTES * 60


def upgrade_packages(engine: Engine, kube: Kube, request: OsUpgradeRequest) -> None:
    """Upgrades servers one by one, then agents.

    Raises:
        OperationRefusedError: servers are unhealthy, or nodes were skipped.
        LyceumError: a node is stuck, or a pause was requested.
    """
    stack = engine.stack
    survey = survey_nodes(engine, kube)
    show_survey(engine, survey)
    blockers = list(find_unhealthy_servers(survey.nodes, "reboot", survey.marked))
    for blocker in blockers:
        errors.print(f"[red]✗[/] {blocker}")
    if blockers:
        raise OperationRefusedError("nothing was changed")
    servers, agents = order_nodes(survey.nodes, survey.due, survey.marked)
    if not servers and not agents:
        return
    names = [node.name for node in (*servers, *agents)]
    audit_log.record_operation(stack.name, "upgrade packages", {"nodes": names, "force": sorted(request.overrides)})
    machines = remotes(engine, stack.nodes)
    gpus = {node.name: expected_gpus(stack.site, node) for node in stack.nodes}

    def upgrades(nodes: list[ClusterNode]) -> list[NodeUpgrade]:
        return [
            NodeUpgrade(
                name=node.name,
                server=node.server,
                kube=kube,
                remote=machines[node.name],
                expected_gpus=gpus[node.name],
                overrides=request.overrides,
                drain_seconds=request.drain_seconds,
            )
            for node in nodes
            if node.name in machines
        ]

    upgrade_run = UpgradeRun(request.is_paused)
    upgrade_run.run(upgrades(servers), 1)
    upgrade_run.run(upgrades(agents), request.max_parallel)
    _report_run(stack.name, upgrade_run)


def expected_gpus(site: Site, node: Node) -> dict[str, int]:
    """GPUs that a node offers when it is ready, by resource name; empty if Lyceum does not install the GPU Operator."""
    return gpu_resources.offered_resources([node]) if site.platform.gpu_operator.enabled else {}


def _report_run(stack: str, upgrade_run: UpgradeRun) -> None:
    for text in upgrade_run.skipped:
        errors.print(f"[yellow]![/] {text}")
    not_started = ", ".join(upgrade_run.not_started)
    if upgrade_run.stuck:
        raise LyceumError("\n".join(upgrade_run.stuck) + (f"\nnot started: {not_started}" if not_started else ""))
    if not_started:
        raise LyceumError(f"paused before {not_started}; ./lyceum upgrade apply {stack} --os continues")
    if upgrade_run.skipped:
        raise OperationRefusedError(
            f"{len(upgrade_run.skipped)} node(s) were skipped; ./lyceum upgrade apply {stack} --os tries again"
        )
