"""`lyceum upgrade plan|apply|status|pause|abort`."""

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
from ops.nodes.commands import Force, Minutes
from ops.nodes.facts import ROOK_NAMESPACE, evictable_pods
from ops.nodes.remove import connect_to_cluster
from ops.upgrade import charts, drivers, os_upgrade
from ops.upgrade.node_upgrade import upgrade_mark
from ops.upgrade.plan import ClusterNode, Plan, Version, find_removed_apis, make_batches, make_plan, read_nodes
from ops.wait import WaitTimeoutError, retry, wait_until

app = typer.Typer(
    no_args_is_help=True, help="Upgrades of K3s to the release that the site's file names, and of packages."
)
StackName = Annotated[str, typer.Argument(help="The stack.")]
MAX_PARALLEL = 5
SETTLE_SECONDS = 300


def pause_file(stack: str) -> Path:
    """Its presence asks a running upgrade to stop after the node it is at."""
    return STATE / "upgrade" / f"{stack}.pause"


def plan_upgrade(engine: Engine, kube: Kube) -> Plan:
    """The plan as of now."""
    site = engine.stack.site
    wanted = Version.parse(site.k3s.version)
    found = read_nodes(kube.items("/api/v1/nodes"), evictable_pods(kube.items("/api/v1/pods")))
    removed = find_removed_apis(kube.text("/metrics"), wanted)
    return make_plan(site.k3s.version, found, removed_apis=removed)


def _require_cluster(engine: Engine) -> Kube:
    kube = connect_to_cluster(engine)
    if kube is None:
        raise LyceumError(f"{engine.stack.name} has no cluster yet; ./lyceum up {engine.stack.name}")
    return kube


@app.command("plan")
def show_plan(stack: StackName) -> None:
    """Shows what an upgrade would do, in which order, and what speaks against it."""
    engine = Engine.open(stack)
    kube = _require_cluster(engine)
    found = plan_upgrade(engine, kube)
    _show_plan(found)
    _show_rest(engine, kube)
    if found.blockers:
        raise OperationRefusedError("the upgrade would not begin")


@app.command()
def status(stack: StackName) -> None:
    """Shows how far an upgrade came: what the nodes run is all that counts."""
    engine = Engine.open(stack)
    kube = _require_cluster(engine)
    _show_plan(plan_upgrade(engine, kube))
    _show_rest(engine, kube)
    if pause_file(stack).exists():
        console.print("paused; the same `upgrade apply` goes on")


def _find_ceph_cluster(kube: Kube) -> Object | None:
    return next(iter(kube.items(f"/apis/ceph.rook.io/v1/namespaces/{ROOK_NAMESPACE}/cephclusters")), None)


def _show_charts(engine: Engine, kube: Kube) -> None:
    found = charts.find_changes(engine.export(), engine.stack.site)
    if found:
        table = Table(
            "order", "chart", "installed", "pinned", title=f"charts: ./lyceum up {engine.stack.name} brings them"
        )
        for number, one in enumerate(found, start=1):
            table.add_row(str(number), one.chart, one.installed, one.pinned)
        console.print(table)
    for note in charts.find_warnings(found):
        console.print(f"[yellow]![/] {note}")
    for reason in charts.find_blockers(found, engine.stack.site, _find_ceph_cluster(kube)):
        errors.print(f"[red]✗[/] {reason}")


def _show_rest(engine: Engine, kube: Kube) -> None:
    """Charts, drivers and packages."""
    _show_charts(engine, kube)
    site = engine.stack.site
    found = drivers.read_drivers(kube.items("/api/v1/nodes"), evictable_pods(kube.items("/api/v1/pods")))
    if found:
        table = Table(
            "node",
            "runs",
            "what is wrong with it",
            title=f"NVIDIA driver; pinned: {cuda.expected_driver(site) or 'unknown'}",
        )
        for one in found:
            table.add_row(one.node, one.version or "?", drivers.describe_problems(one, site))
        console.print(table)
    for note in drivers.find_warnings(found, site):
        console.print(f"[yellow]![/] {note}")
    os_upgrade.show_survey(engine, os_upgrade.survey_nodes(engine, kube))


def _show_plan(found: Plan) -> None:
    table = Table("order", "node", "runs", "work", title=f"to {found.target}")
    for number, one in enumerate((*found.servers, *found.agents), start=1):
        work = f"{one.workloads} pods, {one.gpus} GPUs" if one.workloads else ""
        table.add_row(str(number), one.name + (" (server)" if one.server else ""), str(one.version), work)
    if found.servers or found.agents:
        console.print(table)
    console.print(f"{len(found.upgraded)} node(s) run {found.target}")
    for note in found.warnings:
        console.print(f"[yellow]![/] {note}")
    for reason in found.blockers:
        errors.print(f"[red]✗[/] {reason}")


@app.command()
def pause(stack: StackName) -> None:
    """Asks a running upgrade to stop after the node it is at; `apply` goes on."""
    file = pause_file(stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    console.print(f"the upgrade of {stack} stops after its present node; the same `upgrade apply` goes on")


@app.command()
def abort(stack: StackName) -> None:
    """Stops an upgrade for good, and says what is left to decide."""
    pause(stack)
    engine = Engine.open(stack)
    kube = _require_cluster(engine)
    found = plan_upgrade(engine, kube)
    for node in kube.items("/api/v1/nodes"):
        if upgrade_mark(node):
            name = node["metadata"]["name"]
            console.print(
                f"{name} takes no work: its packages are being upgraded. ./lyceum upgrade apply {stack} --os ends that; "
                f"to let work come as it is: ./lyceum node drain {stack} {name} --undo"
            )
    if not found.upgraded:
        console.print(f"nothing has changed: put k3s.version back in config/sites/{engine.stack.site.name}.yaml")
    elif found.servers:
        console.print(
            f"{', '.join(found.upgraded)} run {found.target} already and cannot go back; a mix of two minors is supported"
        )
    else:
        console.print(f"all servers run {found.target}; agents may stay behind by up to three minors")


@app.command()
def apply(
    stack: StackName,
    *,
    packages: Annotated[
        bool,
        typer.Option("--os", help="Packages of the operating system instead of K3s; reboots where they ask for it."),
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
    """Upgrades servers one by one, each behind a snapshot and a gate, then agents; goes on where it stopped."""
    engine = Engine.open(stack)
    pause_file(stack).unlink(missing_ok=True)
    if force and not packages:
        raise UsageError("--force belongs to --os: K3s is upgraded without ending anybody's work")
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        kube = _require_cluster(engine)
        if packages:
            wish = os_upgrade.OsUpgradeRequest(
                at_once or os_upgrade.MAX_PARALLEL, frozenset(force or ()), pause_file(stack).exists, minutes * 60
            )
            os_upgrade.upgrade_packages(engine, kube, wish)
            return
        found = plan_upgrade(engine, kube)
        _show_plan(found)
        if found.blockers:
            raise OperationRefusedError("nothing was touched")
        if not found.servers and not found.agents:
            return
        audit_log.record_operation(
            stack, "upgrade", {"to": str(found.target), "nodes": [*_names(found.servers), *_names(found.agents)]}
        )
        urns = engine.export().k3s_commands
        for one in found.servers:
            _upgrade_batch(engine, kube, lock, [one], urns)
        for batch in make_batches(found.agents, at_once or MAX_PARALLEL):
            _upgrade_batch(engine, kube, lock, batch, urns)
    left = plan_upgrade(engine, kube)
    _show_plan(left)


def _names(found: tuple[ClusterNode, ...]) -> list[str]:
    return [one.name for one in found]


def _upgrade_batch(engine: Engine, kube: Kube, lock: IO[str], batch: list[ClusterNode], urns: dict[str, str]) -> None:
    """Upgrades these nodes and waits until they run the release and are well; stops the command where they are not."""
    stack, names = engine.stack.name, [one.name for one in batch]
    if pause_file(stack).exists():
        raise LyceumError(f"paused before {', '.join(names)}; ./lyceum upgrade apply {stack} goes on")
    before = retry("the API", SETTLE_SECONDS, lambda: plan_upgrade(engine, kube))
    if batch[0].server and before.blockers:
        raise OperationRefusedError(f"stopped before {', '.join(names)}: {'; '.join(before.blockers)}")
    message = f"upgrade {' '.join(names)} to {before.target}"
    if code := engine.up(lock, message, only=[urns[name] for name in names]):
        raise LyceumError(
            f"{', '.join(names)} could not be upgraded; mend what is said above, then ./lyceum upgrade apply {stack}",
            exit_code=code,
        )
    try:
        wait_until(
            f"{', '.join(names)} to run {before.target}",
            SETTLE_SECONDS,
            lambda: set(names) <= _list_upgraded(engine, kube),
        )
    except WaitTimeoutError as error:
        raise LyceumError(f"{error}; nothing else was touched. ./lyceum status {stack}") from error


def _list_upgraded(engine: Engine, kube: Kube) -> set[str]:
    wanted = Version.parse(engine.stack.site.k3s.version)
    found = read_nodes(kube.items("/api/v1/nodes"), [])
    return {one.name for one in found if one.healthy and one.version == wanted}


def refuse_version_changes(engine: Engine, state: State) -> None:
    """Keeps `up` from changing K3s on every node at once, and charts in a way that their projects do not support."""
    kube = Kube.of(engine, MOVE_SECONDS)
    if kube is None:
        if reason := api_outage.reason(engine):
            raise OperationRefusedError(reason)
        return
    wanted = Version.parse(engine.stack.site.k3s.version)
    other = [one for one in read_nodes(kube.items("/api/v1/nodes"), []) if one.version != wanted]
    if other:
        stack = engine.stack.name
        raise OperationRefusedError(
            f"{len(other)} node(s) run {other[0].version}, and the site's file says {wanted}: ./lyceum upgrade plan {stack} "
            f"shows the way, ./lyceum upgrade apply {stack} goes it. `up` never changes K3s under running nodes"
        )
    found = charts.find_changes(state, engine.stack.site)
    if refused := list(charts.find_blockers(found, engine.stack.site, _find_ceph_cluster(kube))):
        raise OperationRefusedError("\n".join(refused) + "\nnothing was touched")
