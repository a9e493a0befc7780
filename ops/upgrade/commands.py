"""`lyceum upgrade plan|apply|status|pause|abort`."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.table import Table

from config import cuda
from config.errors import LyceumError, OperationRefusedError, UsageError
from ops import audit_log
from ops.checks import api_outage
from ops.clients.kubernetes import MOVE_SECONDS, Kube, Object
from ops.console import console, errors
from ops.credentials.rotate import require_no_rotation
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.engine.pulumi_state import State
from ops.engine.stack import STATE
from ops.nodes import drain
from ops.nodes.blockers import format_workloads
from ops.nodes.cluster import require_cluster
from ops.nodes.commands import Force, Minutes
from ops.nodes.facts import ROOK_NAMESPACE, evictable_pods
from ops.upgrade import charts, drivers, os_upgrade
from ops.upgrade.node_upgrade import upgrade_mark
from ops.upgrade.plan import ClusterNode, UpgradePlan, Version, find_removed_apis, make_batches, make_plan, read_nodes
from ops.wait import WaitTimeoutError, retry, wait_until

app = typer.Typer(
    no_args_is_help=True, help="Upgrades K3s to the release in the site's file, and packages of the operating system."
)
StackName = Annotated[str, typer.Argument(help="The stack.")]
MAX_PARALLEL = 5
"""Agents whose K3s is upgraded at the same time."""
READY_SECONDS = 300


def pause_file(stack: str) -> Path:
    """The file that makes a running upgrade pause after the current node."""
    return STATE / "upgrade" / f"{stack}.pause"


def plan_upgrade(engine: Engine, kube: Kube) -> UpgradePlan:
    """The plan for the cluster as it is now."""
    release = engine.stack.site.k3s.version
    nodes = read_nodes(kube.items("/api/v1/nodes"), evictable_pods(kube.items("/api/v1/pods")))
    removed_apis = find_removed_apis(kube.text("/metrics"), Version.parse(release))
    return make_plan(release, nodes, removed_apis=removed_apis)


@app.command("plan")
def show_plan(stack: StackName) -> None:
    """Shows what an upgrade would do, in which order, and what blocks it."""
    engine = Engine.open(stack)
    kube = require_cluster(engine)
    plan = plan_upgrade(engine, kube)
    _show_plan(plan)
    _show_rest(engine, kube)
    if plan.blockers:
        raise OperationRefusedError("the upgrade is blocked")


@app.command()
def status(stack: StackName) -> None:
    """Shows the progress of an upgrade: which node runs which release."""
    engine = Engine.open(stack)
    kube = require_cluster(engine)
    _show_plan(plan_upgrade(engine, kube))
    _show_rest(engine, kube)
    if pause_file(stack).exists():
        console.print("paused; the same `upgrade apply` continues")


def _find_ceph_cluster(kube: Kube) -> Object | None:
    return next(iter(kube.items(f"/apis/ceph.rook.io/v1/namespaces/{ROOK_NAMESPACE}/cephclusters")), None)


def _show_charts(engine: Engine, kube: Kube) -> None:
    changes = charts.find_changes(engine.export(), engine.stack.site)
    if changes:
        table = Table(
            "order", "chart", "installed", "pinned", title=f"charts: ./lyceum up {engine.stack.name} installs them"
        )
        for number, change in enumerate(changes, start=1):
            table.add_row(str(number), change.chart, change.installed, change.pinned)
        console.print(table)
    _print_messages(
        charts.find_warnings(changes), charts.find_blockers(changes, engine.stack.site, _find_ceph_cluster(kube))
    )


def _print_messages(warnings: Iterable[str], blockers: Iterable[str] = ()) -> None:
    for warning in warnings:
        console.print(f"[yellow]![/] {warning}")
    for blocker in blockers:
        errors.print(f"[red]✗[/] {blocker}")


def _show_rest(engine: Engine, kube: Kube) -> None:
    """Shows charts, drivers and packages."""
    _show_charts(engine, kube)
    site = engine.stack.site
    found = drivers.read_drivers(kube.items("/api/v1/nodes"), evictable_pods(kube.items("/api/v1/pods")))
    if found:
        table = Table(
            "node",
            "runs",
            "problem",
            title=f"NVIDIA driver; pinned: {cuda.expected_driver(site) or 'unknown'}",
        )
        for driver in found:
            table.add_row(driver.node, driver.version or "?", drivers.describe_problems(driver, site))
        console.print(table)
    _print_messages(drivers.find_warnings(found, site))
    os_upgrade.show_survey(engine, os_upgrade.survey_nodes(engine, kube))


def _show_plan(plan: UpgradePlan) -> None:
    table = Table("order", "node", "runs", "work", title=f"upgrade to {plan.target}")
    for number, node in enumerate((*plan.servers, *plan.agents), start=1):
        work = format_workloads(node.workloads, node.gpus)
        table.add_row(str(number), node.name + (" (server)" if node.server else ""), str(node.version), work)
    if plan.servers or plan.agents:
        console.print(table)
    console.print(f"{len(plan.upgraded)} node(s) run {plan.target}")
    _print_messages(plan.warnings, plan.blockers)


@app.command()
def pause(stack: StackName) -> None:
    """Makes a running upgrade pause after the current node; `apply` continues."""
    file = pause_file(stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    console.print(f"the upgrade of {stack} pauses after the current node; the same `upgrade apply` continues")


@app.command()
def abort(stack: StackName) -> None:
    """Stops an upgrade, and shows what is left to decide."""
    pause(stack)
    engine = Engine.open(stack)
    kube = require_cluster(engine)
    plan = plan_upgrade(engine, kube)
    for node in kube.items("/api/v1/nodes"):
        if upgrade_mark(node):
            name = node["metadata"]["name"]
            console.print(
                f"{name} is cordoned: its packages are partly upgraded. ./lyceum upgrade apply {stack} --os finishes that; "
                f"to uncordon it as it is: ./lyceum node drain {stack} {name} --undo"
            )
    if not plan.upgraded:
        console.print(f"nothing was changed: reset k3s.version in config/sites/{engine.stack.site.name}.yaml")
    elif plan.servers:
        console.print(
            f"{', '.join(plan.upgraded)} run {plan.target} already and cannot be downgraded; two adjacent minor releases can run "
            f"together"
        )
    else:
        console.print(f"all servers run {plan.target}; agents may be up to three minor releases older")


@app.command()
def apply(
    stack: StackName,
    *,
    packages: Annotated[
        bool,
        typer.Option("--os", help="Packages of the operating system instead of K3s; reboots where required."),
    ] = False,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"How many agents at the same time: {MAX_PARALLEL}, or {os_upgrade.MAX_PARALLEL} with --os."
        ),
    ] = None,
    force: Force = None,
    minutes: Minutes = drain.DEFAULT_MINUTES,
) -> None:
    """Upgrades servers one by one, each after a snapshot and checks, then agents; continues where it stopped."""
    engine = Engine.open(stack)
    pause_file(stack).unlink(missing_ok=True)
    if force and not packages:
        raise UsageError("--force is only valid with --os: an upgrade of K3s ends nobody's work")
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        kube = require_cluster(engine)
        if packages:
            request = os_upgrade.OsUpgradeRequest(
                at_once or os_upgrade.MAX_PARALLEL, frozenset(force or ()), pause_file(stack).exists, minutes * 60
            )
            os_upgrade.upgrade_packages(engine, kube, request)
            return
        plan = plan_upgrade(engine, kube)
        _show_plan(plan)
        if plan.blockers:
            raise OperationRefusedError("nothing was changed")
        if not plan.servers and not plan.agents:
            return
        names = [node.name for node in (*plan.servers, *plan.agents)]
        audit_log.record_operation(stack, "upgrade", {"to": str(plan.target), "nodes": names})
        urns = engine.export().k3s_commands
        for server in plan.servers:
            _upgrade_batch(engine, kube, lock, [server], urns)
        for batch in make_batches(plan.agents, at_once or MAX_PARALLEL):
            _upgrade_batch(engine, kube, lock, batch, urns)
    _show_plan(plan_upgrade(engine, kube))


def _upgrade_batch(engine: Engine, kube: Kube, lock: IO[str], batch: list[ClusterNode], urns: dict[str, str]) -> None:
    """Upgrades these nodes together, and waits until they run the release and are healthy."""
    stack, names = engine.stack.name, [node.name for node in batch]
    if pause_file(stack).exists():
        raise LyceumError(f"paused before {', '.join(names)}; ./lyceum upgrade apply {stack} continues")
    plan = retry("the API", READY_SECONDS, lambda: plan_upgrade(engine, kube))
    if batch[0].server and plan.blockers:
        raise OperationRefusedError(f"stopped before {', '.join(names)}: {'; '.join(plan.blockers)}")
    message = f"upgrade {' '.join(names)} to {plan.target}"
    if code := engine.up(lock, message, only=[urns[name] for name in names]):
        raise LyceumError(
            f"{', '.join(names)} could not be upgraded; repair what is reported above, then ./lyceum upgrade apply {stack}",
            exit_code=code,
        )
    try:
        wait_until(
            f"{', '.join(names)} to run {plan.target}",
            READY_SECONDS,
            lambda: set(names) <= _list_upgraded(engine, kube),
        )
    except WaitTimeoutError as error:
        raise LyceumError(f"{error}; nothing else was changed. ./lyceum status {stack}") from error


def _list_upgraded(engine: Engine, kube: Kube) -> set[str]:
    target = Version.parse(engine.stack.site.k3s.version)
    nodes = read_nodes(kube.items("/api/v1/nodes"), [])
    return {node.name for node in nodes if node.healthy and node.version == target}


def refuse_version_changes(engine: Engine, state: State) -> None:
    """Refuses `up` if it would change K3s on running nodes, or change charts in a way that their projects do not support.

    Raises:
        OperationRefusedError: it would, or the API does not answer and the reason is known.
    """
    kube = Kube.connect(engine, MOVE_SECONDS)
    if kube is None:
        if reason := api_outage.explain_outage(engine):
            raise OperationRefusedError(reason)
        return
    target = Version.parse(engine.stack.site.k3s.version)
    if other := [node for node in read_nodes(kube.items("/api/v1/nodes"), []) if node.version != target]:
        stack = engine.stack.name
        raise OperationRefusedError(
            f"{len(other)} node(s) run {other[0].version}, and the site's file has {target}: ./lyceum upgrade plan {stack} "
            f"shows the upgrade, ./lyceum upgrade apply {stack} runs it. `up` never changes K3s on running nodes"
        )
    changes = charts.find_changes(state, engine.stack.site)
    if blockers := list(charts.find_blockers(changes, engine.stack.site, _find_ceph_cluster(kube))):
        raise OperationRefusedError("\n".join(blockers) + "\nnothing was changed")
