"""`lyceum preview`, `up` and `destroy`: the engine, behind the checks that protect data and machines."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from config.errors import OperationRefusedError, UsageError
from ops import audit_log
from ops.checks.preflight.run import run_preflight
from ops.checks.status import find_problems
from ops.console import console, errors, step
from ops.credentials.rotate import require_no_rotation
from ops.engine.engine import Engine
from ops.engine.pending_operations import resolve_pending_operations
from ops.engine.pulumi_state import Removal, State, find_removals
from ops.nodes.blockers import Override
from ops.nodes.remove import RemovalRequest, remove_nodes
from ops.nodes.replace import misplaced_first_server
from ops.nodes.vm import prepare_deletion
from ops.queues import drain_queues, resume_queues
from ops.upgrade.commands import refuse_version_changes

StackName = Annotated[str, typer.Argument(help="The stack: `dev` for Pulumi.dev.yaml.")]
Stage = Annotated[str | None, typer.Option(help="Put another stage in service, and write it to the stack's file.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def preview(stack: StackName, *, diff: Annotated[bool, typer.Option(help="Show every changed value.")] = False) -> None:
    """Shows what `up` would do; changes nothing."""
    engine = Engine.open(stack)
    run_preflight(engine, engine.export(), engine.stack.stage, required=False)
    raise typer.Exit(engine.preview(diff=diff))


def up(
    stack: StackName,
    *,
    stage: Stage = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="The explicit word: a machine that may be removed. Repeat it for each.")
    ] = None,
    force: Annotated[
        list[Override] | None, typer.Option(help="What may be given up with a removed machine, or with Kueue.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Brings the campus to what its files say; finishes what an interrupted run left."""
    engine = Engine.open(stack)
    with engine.hold_lock() as lock:
        state = resolve_pending_operations(engine)
        require_no_rotation(engine.stack)
        refuse_version_changes(engine, state)
        run_preflight(engine, state, stage or engine.stack.stage, required=True)
        _decommission_removed(engine, state, stage or engine.stack.stage, set(remove or ()), frozenset(force or ()))
        if stage and stage != engine.stack.stage:
            engine.stack.set_stage(stage)
        drained = drain_queues(engine, force or ())
        code = engine.up(lock, confirm=not yes)
        if code and drained:
            resume_queues(drained)
    if code:
        # What fails on one machine often has its cause on another.
        for text in find_problems(engine):
            errors.print(f"[red]✗[/] {escape(text)}")
    raise typer.Exit(code)


def destroy(
    stack: StackName,
    *,
    yes_destroy: Annotated[str, typer.Option(metavar="SITE", help="The explicit word: the name of the site.")] = "",
) -> None:
    """Deletes everything: machines, their disks, and what people stored on them."""
    engine = Engine.open(stack)
    site = engine.stack.site
    with engine.hold_lock() as lock:
        state = resolve_pending_operations(engine)
        known = state.vm_urns
        if yes_destroy != site.name:
            _print_removals([Removal(name, urn, "everything on it") for name, urn in sorted(known.items())])
            raise OperationRefusedError(
                f"this deletes {len(known)} machines of {site.title}; if you intend that: --yes-destroy {site.name}"
            )
        engine.replace_state(
            prepare_deletion(engine, state.unprotected(), state.vms.values()).without_cluster_objects()
        )
        raise typer.Exit(engine.destroy(lock))


def _decommission_removed(
    engine: Engine, state: State, stage: str, named: set[str], force: frozenset[Override]
) -> None:
    """Decommissions the machines that the update removes; refuses, before anything is changed, where one was not named."""
    stack = engine.stack
    if (first := misplaced_first_server(stack.nodes_at(stage), state)) and "cluster-ca" not in stack.settings:
        raise OperationRefusedError(
            f"{first} is new and listed before the servers that exist; move it below them in the site file"
        )
    going = find_removals(state, stack.site, stack.nodes_at(stage))
    unknown = named - {removal.name for removal in going}
    if gone := audit_log.removed_before(stack.name, unknown) - state.vm_urns.keys():
        console.print(f"[dim]{', '.join(sorted(gone))}: removed already[/]")
    if unknown := unknown - gone:
        raise UsageError(f"--remove {' '.join(sorted(unknown))}: stage {stage} does not remove it")
    if missing := [removal for removal in going if removal.name not in named]:
        _print_removals(going)
        needed = " ".join(f"--remove {removal.name}" for removal in missing)
        raise OperationRefusedError(
            f"stage {stage} does not include {len(missing)} existing machine(s); to remove them add: {needed}"
        )
    if going:
        remove_nodes(engine, RemovalRequest(tuple(removal.name for removal in going), "remove", force))
        with step(f"{len(going)} machine(s) may be removed"):
            engine.replace_state(prepare_deletion(engine, state, [state.vms[removal.name] for removal in going]))


def _print_removals(going: list[Removal]) -> None:
    table = Table("machine", "holds", title="would be removed")
    for removal in going:
        table.add_row(removal.name, removal.holds)
    console.print(table)
