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
from ops.nodes.blockers import Override, count_gpus, find_blockers, is_user_workload, server_count_problem
from ops.nodes.facts import evictable_pods, gather_facts, is_ready
from ops.nodes.remove import RemovalRequest, connect_to_cluster, remove_nodes
from ops.nodes.replace import prepare_replacement, record_replaced
from ops.nodes.vm import prepare_deletion

app = typer.Typer(no_args_is_help=True, help="The life of a node.")
StackName = Annotated[str, typer.Argument(help="The stack.")]
Name = Annotated[str, typer.Argument(help="The machine.")]
Names = Annotated[list[str], typer.Argument(help="The machines.")]
Force = Annotated[list[Override] | None, typer.Option("--force", help="The explicit word: what may be given up.")]
Minutes = Annotated[float, typer.Option(help="How long a drain may wait for budgets and for pods to end.")]


@app.command("list")
def list_nodes(stack: StackName) -> None:
    """Shows every machine of the site: in service or not, its state in the cluster, whose work it runs."""
    engine = Engine.open(stack)
    kube = Kube.of(engine)
    nodes = {node["metadata"]["name"]: node for node in kube.items("/api/v1/nodes")} if kube else {}
    pods = evictable_pods(kube.items("/api/v1/pods")) if kube else []
    known = engine.export().vms
    wanted = {node.name for node in engine.stack.nodes}
    table = Table(
        "machine", "role", "host", "address", "VM", "in the cluster", "K3s", "work", title=engine.stack.site.title
    )
    for node in engine.stack.site.machines:
        if node.name in wanted or node.name in known:
            table.add_row(*node_row(node, node.name in wanted, node.name in known, nodes.get(node.name), pods))
    console.print(table)


def node_row(node: Node, wanted: bool, exists: bool, member: Object | None, pods: list[Object]) -> list[str]:
    """One machine's line."""
    work = [pod for pod in pods if pod["spec"].get("nodeName") == node.name and is_user_workload(pod)]
    held = sum(map(count_gpus, work))
    if member is None:
        state = "-" if not node.in_cluster else "[red]absent[/]" if wanted else "-"
    else:
        state = "[green]ready[/]" if is_ready(member) else "[red]not ready[/]"
        state += ", drained" if draining.is_cordoned(member) else ""
    vm = {(True, True): "yes", (True, False): "to be made", (False, True): "to be removed"}[wanted, exists]
    version = member["status"]["nodeInfo"]["kubeletVersion"] if member else ""
    shown = f"{len(work)} pods, {held} GPUs" if work else ""
    return [node.name, node.role.value, node.host, str(node.address), vm, state, version, shown]


@app.command()
def add(stack: StackName, name: Name) -> None:
    """Puts a machine into service: one that was removed by name, or says what the site's file needs."""
    engine = Engine.open(stack)
    chosen = engine.stack
    if name in chosen.out_of_service:
        chosen.set("out-of-service", sorted(chosen.out_of_service - {name}) or None)
        if wrong := server_count_problem(count_remaining_servers(chosen.nodes, set())):
            console.print(f"[yellow]![/] {wrong}: add another one")
        raise typer.Exit(update(engine, f"add {name}"))
    if any(node.name == name for node in chosen.nodes):
        console.print(f"{name} is in service; bringing it to what the files say")
        raise typer.Exit(update(engine, f"add {name}"))
    raise UsageError(explain_add(chosen.site, chosen.stage, name))


def count_remaining_servers(nodes: tuple[Node, ...], names: set[str]) -> int:
    """How many servers stay without these machines; 0 where none of them is a server."""
    servers = {node.name for node in nodes if node.role is Role.SERVER}
    return len(servers - names) if not names or servers & names else 0


def explain_add(site: Site, stage: str, name: str) -> str:
    """What to write, so that a machine that is not in service comes into it."""
    for other in STAGES:
        if any(node.name == name for node in site.in_service(other)):
            return f"{name} is in service from stage {other} on, and this is {stage}: ./lyceum up … --stage {other}"
    taken = {node.address for node in site.machines}
    free = next((str(one) for one in site.network.cidr.hosts() if one > max(taken)), "…")
    like = site.machines[-1]
    return (
        f"config/sites/{site.name}.yaml has no machine `{name}`. Add under `nodes:`, then ./lyceum up …\n"
        f"  - {{name: {name}, role: {like.role.value}, host: {like.host}, shape: …, address: {free}}}"
    )


@app.command()
def drain(
    stack: StackName,
    name: Name,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let work come again.")] = False,
    force: Force = None,
    minutes: Minutes = draining.DEFAULT_MINUTES,
) -> None:
    """Keeps new work away from a node and moves what runs there; names whoever holds it up."""
    engine = Engine.open(stack)
    kube = connect_to_cluster(engine)
    if kube is None or kube.find(f"/api/v1/nodes/{name}") is None:
        raise UsageError(f"the cluster has no node `{name}`; ./lyceum node list {stack}")
    if undo:
        draining.uncordon(kube, name)
        console.print(f"{name} takes work again")
        return
    words = set(force or ())
    draining.cordon(kube, name)
    held = [
        one
        for one in find_blockers(gather_facts(kube, name))
        if one.override is Override.JOBS and Override.JOBS not in words
    ]
    if held:
        raise OperationRefusedError(f"{name} takes no new work. {held[0].text}. To end it now: --force jobs")
    audit_log.record_operation(stack, "drain", {"nodes": [name], "force": sorted(words)})
    try:
        with step(f"drain {name}"):
            draining.drain_node(kube, name, minutes * 60, ignore_budgets=Override.BUDGETS in words)
    except draining.DrainTimeoutError as error:
        raise LyceumError(
            f"{error}\n{name} takes no new work; run this again to go on, or with --undo to give up"
        ) from error


@app.command()
def remove(stack: StackName, names: Names, *, force: Force = None, minutes: Minutes = draining.DEFAULT_MINUTES) -> None:
    """Takes machines out of the cluster and away: drained, their data and votes handed over, then deleted."""
    engine = Engine.open(stack)
    words = frozenset(force or ())
    with engine.hold_lock() as lock:
        state = resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        known = state.vms
        unknown = {name for name in names if name not in known}
        if gone := unknown & (engine.stack.out_of_service | audit_log.removed_before(stack, unknown)):
            console.print(f"[dim]{', '.join(sorted(gone))}: removed already[/]")
        if unknown := unknown - gone:
            raise UsageError(f"{', '.join(sorted(unknown))}: no such machine; ./lyceum node list {stack}")
        names = [name for name in names if name in known]
        if not names:
            return
        if wrong := server_count_problem(count_remaining_servers(engine.stack.nodes, set(names))):
            raise OperationRefusedError(
                f"{wrong}: name another one too, or keep it. One that is dead: ./lyceum node replace {stack} NAME"
            )
        remove_nodes(engine, RemovalRequest(tuple(names), "remove", words, minutes * 60))
        still = {node.name for node in engine.stack.site.machines}
        out = sorted(engine.stack.out_of_service | (set(names) & still))
        engine.stack.set("out-of-service", out or None)
        engine.replace_state(prepare_deletion(engine, state, [known[name] for name in names]))
        message = audit_log.update_message(f"remove {' '.join(names)}", list(words))
        raise typer.Exit(engine.up(lock, message))


@app.command()
def replace(stack: StackName, name: Name, *, force: Force = None, minutes: Minutes = draining.DEFAULT_MINUTES) -> None:
    """Makes a machine anew under its name, the first server too; its disks start empty."""
    engine = Engine.open(stack)
    words = frozenset(force or ())
    if name not in {node.name for node in engine.stack.nodes}:
        raise UsageError(f"{name} is not in service; ./lyceum node list {stack}")
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        urns = prepare_replacement(engine, RemovalRequest((name,), "replace", words, minutes * 60))
        code = engine.up(lock, audit_log.update_message(f"replace {name}", list(words)), replace=urns)
        if code == 0:
            record_replaced(engine, name)
        raise typer.Exit(code)


def update(engine: Engine, message: str) -> int:
    """Runs the engine alone."""
    with engine.hold_lock() as lock:
        resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        return engine.up(lock, message)
