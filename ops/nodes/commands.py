"""`lyceum node list|add|drain|remove|replace`."""

from typing import Annotated

import typer
from rich.table import Table

from config.errors import LyceumError, OperationRefusedError, UsageError
from config.hosts import Node, Role
from config.site import STAGES, Site
from ops import audit_log
from ops.clients.kubernetes import Kube, Object
from ops.console import console, step
from ops.credentials.rotate import require_no_rotation
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.nodes import drain as draining
from ops.nodes.blockers import (
    Override,
    count_gpus,
    format_workloads,
    server_count_problem,
    user_workloads,
    workload_blockers,
)
from ops.nodes.cluster import connect_to_cluster
from ops.nodes.facts import evictable_pods, gather_facts, is_ready
from ops.nodes.remove import RemovalRequest, remove_nodes
from ops.nodes.replace import prepare_replacement, record_replaced
from ops.nodes.vm import prepare_deletion

app = typer.Typer(no_args_is_help=True, help="Lists, adds, drains, removes and replaces nodes.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
Name = Annotated[str, typer.Argument(help="The machine.")]
Names = Annotated[list[str], typer.Argument(help="The machines.")]
Force = Annotated[
    list[Override] | None, typer.Option("--force", help="Override: what may be lost. Repeat it for each.")
]
Minutes = Annotated[
    float, typer.Option(help="How long a drain may wait for disruption budgets and for pods to terminate.")
]


@app.command("list")
def list_nodes(stack: StackName) -> None:
    """Shows every machine: whether it is in service, its state in the cluster, and the work on it."""
    engine = Engine.open(stack)
    kube = Kube.connect(engine)
    nodes = {node["metadata"]["name"]: node for node in kube.items("/api/v1/nodes")} if kube else {}
    pods = evictable_pods(kube.items("/api/v1/pods")) if kube else []
    known = engine.export().vms
    wanted = {node.name for node in engine.stack.nodes}
    table = Table(
        "machine", "role", "host", "address", "VM", "in the cluster", "K3s", "work", title=engine.stack.site.title
    )
    for machine in engine.stack.site.machines:
        name = machine.name
        if name in wanted or name in known:
            table.add_row(*node_row(machine, name in wanted, name in known, nodes.get(name), pods))
    console.print(table)


def node_row(machine: Node, wanted: bool, exists: bool, node: Object | None, pods: list[Object]) -> list[str]:
    """The row of one machine in the table.

    Args:
        machine: The machine in the site's file.
        wanted: Whether it is in service.
        exists: Whether the stack has a VM for it.
        node: Its Node object; None if the cluster has none.
        pods: Pods of all nodes.
    """
    workloads = user_workloads(pods, machine.name)
    if node is None:
        state = "[red]absent[/]" if machine.in_cluster and wanted else "-"
    else:
        state = "[green]ready[/]" if is_ready(node) else "[red]not ready[/]"
        state += ", cordoned" if draining.is_cordoned(node) else ""
    vm = {(True, True): "yes", (True, False): "to be created", (False, True): "to be removed"}[wanted, exists]
    version = node["status"]["nodeInfo"]["kubeletVersion"] if node else ""
    work = format_workloads(len(workloads), sum(map(count_gpus, workloads)))
    return [machine.name, machine.role.value, machine.host, str(machine.address), vm, state, version, work]


@app.command()
def add(stack: StackName, name: Name) -> None:
    """Puts a removed machine back into service, or shows what to add to the site's file."""
    engine = Engine.open(stack)
    site_stack = engine.stack
    if name in site_stack.out_of_service:
        site_stack.set("out-of-service", sorted(site_stack.out_of_service - {name}) or None)
        if problem := server_count_problem(count_remaining_servers(site_stack.nodes, set())):
            console.print(f"[yellow]![/] {problem}: add another one")
        raise typer.Exit(update(engine, f"add {name}"))
    if any(node.name == name for node in site_stack.nodes):
        console.print(f"{name} is in service already; updating it from the site's file")
        raise typer.Exit(update(engine, f"add {name}"))
    raise UsageError(explain_add(site_stack.site, site_stack.stage, name))


def count_remaining_servers(nodes: tuple[Node, ...], names: set[str]) -> int:
    """Number of servers without these machines; 0 if none of them is a server."""
    servers = {node.name for node in nodes if node.role is Role.SERVER}
    return len(servers - names) if not names or servers & names else 0


def explain_add(site: Site, stage: str, name: str) -> str:
    """What to change so that a machine comes into service."""
    for other in STAGES:
        if any(node.name == name for node in site.in_service(other)):
            return (
                f"{name} is in service from stage {other} on, and this is stage {stage}: ./lyceum up … --stage {other}"
            )
    taken = {node.address for node in site.machines}
    free = next((str(address) for address in site.network.cidr.hosts() if address > max(taken)), "…")
    example = site.machines[-1]
    return (
        f"config/sites/{site.name}.yaml has no machine `{name}`. Add under `nodes:`, then ./lyceum up …\n"
        f"  - {{name: {name}, role: {example.role.value}, host: {example.host}, shape: …, address: {free}}}"
    )


@app.command()
def drain(
    stack: StackName,
    name: Name,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Uncordon the node.")] = False,
    force: Force = None,
    minutes: Minutes = draining.DEFAULT_MINUTES,
) -> None:
    """Cordons a node and evicts its pods; reports the pods that block it."""
    engine = Engine.open(stack)
    kube = connect_to_cluster(engine)
    if kube is None or kube.find(f"/api/v1/nodes/{name}") is None:
        raise UsageError(f"the cluster has no node `{name}`; ./lyceum node list {stack}")
    if undo:
        draining.uncordon(kube, name)
        console.print(f"{name} is uncordoned")
        return
    overrides = set(force or ())
    draining.cordon(kube, name)
    facts = gather_facts(kube, name)
    if Override.JOBS not in overrides and (blockers := list(workload_blockers(facts))):
        raise OperationRefusedError(f"{name} is cordoned. {blockers[0].text}. To end it now: --force jobs")
    audit_log.record_operation(stack, "drain", {"nodes": [name], "force": sorted(overrides)})
    try:
        with step(f"drain {name}"):
            draining.drain_node(kube, name, minutes * 60, ignore_budgets=Override.BUDGETS in overrides)
    except draining.DrainTimeoutError as error:
        raise LyceumError(
            f"{error}\n{name} stays cordoned; run this command again to continue, or with --undo to uncordon it"
        ) from error


@app.command()
def remove(stack: StackName, names: Names, *, force: Force = None, minutes: Minutes = draining.DEFAULT_MINUTES) -> None:
    """Drains machines, moves their data, removes them from the cluster and deletes them."""
    engine = Engine.open(stack)
    overrides = frozenset(force or ())
    with engine.hold_lock() as lock:
        state = resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        known = state.vms
        unknown = {name for name in names if name not in known}
        if gone := unknown & (engine.stack.out_of_service | audit_log.removed_before(stack, unknown)):
            console.print(f"[dim]{', '.join(sorted(gone))}: removed already[/]")
        if unknown := unknown - gone:
            raise UsageError(f"there is no machine {', '.join(sorted(unknown))}; ./lyceum node list {stack}")
        names = [name for name in names if name in known]
        if not names:
            return
        if problem := server_count_problem(count_remaining_servers(engine.stack.nodes, set(names))):
            raise OperationRefusedError(
                f"{problem}: remove another one too, or keep it. To replace a dead server: ./lyceum node replace {stack} NAME"
            )
        remove_nodes(engine, RemovalRequest(tuple(names), "remove", overrides, minutes * 60))
        in_file = {machine.name for machine in engine.stack.site.machines}
        out_of_service = engine.stack.out_of_service | (set(names) & in_file)
        engine.stack.set("out-of-service", sorted(out_of_service) or None)
        engine.replace_state(prepare_deletion(engine, state, [known[name] for name in names]))
        message = audit_log.update_message(f"remove {' '.join(names)}", list(overrides))
        raise typer.Exit(engine.up(lock, message))


@app.command()
def replace(stack: StackName, name: Name, *, force: Force = None, minutes: Minutes = draining.DEFAULT_MINUTES) -> None:
    """Deletes a machine and creates it again with the same name and empty disks; also works for the first server."""
    engine = Engine.open(stack)
    overrides = frozenset(force or ())
    if name not in {node.name for node in engine.stack.nodes}:
        raise UsageError(f"{name} is not in service; ./lyceum node list {stack}")
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        urns = prepare_replacement(engine, RemovalRequest((name,), "replace", overrides, minutes * 60))
        code = engine.up(lock, audit_log.update_message(f"replace {name}", list(overrides)), replace=urns)
        if code == 0:
            record_replaced(engine, name)
        raise typer.Exit(code)


def update(engine: Engine, message: str) -> int:
    """Runs `up` under the stack's lock; returns the engine's exit code."""
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        return engine.up(lock, message)
