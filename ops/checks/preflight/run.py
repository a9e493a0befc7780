"""The preflight before `preview` and `up`."""

import time

from components.proxmox.client import PveError
from config.errors import LyceumError, OperationRefusedError
from ops.checks.doctor.bucket import bucket
from ops.checks.doctor.finding import State as Health
from ops.checks.preflight.checks import Problem, lost, problems
from ops.checks.preflight.facts import ask
from ops.clients.proxmox import connect_proxmox
from ops.console import console, errors, took
from ops.engine.engine import Engine
from ops.engine.pulumi_state import State
from ops.engine.stack import Stack


def preflight(engine: Engine, state: State, stage: str, *, required: bool) -> None:
    """Asks Proxmox whether the machines of a stage can be what the site's file says; ends the command where not.

    Args:
        engine: The stack.
        state: Its state.
        stage: Which machines.
        required: Whether Proxmox must answer; a preview may be made where it cannot be reached, and says so.
    """
    if not required and engine.stack.known_secret("proxmox-token") is None:
        console.print("[yellow]![/] no Proxmox token here: cards, memory and disks are not looked at")
        return
    nodes = engine.stack.nodes_at(stage)
    start = time.monotonic()
    try:
        facts = ask(connect_proxmox(engine), {node.host for node in nodes}, engine.stack.site.proxmox.pool)
    except PveError as error:
        if required:
            raise LyceumError(f"Proxmox: {error}") from error
        console.print(f"[yellow]![/] cards, memory and disks are not looked at: {error}")
        return
    found = problems(engine.stack.site, nodes, facts) + lost(engine.stack.name, nodes, state.vms, facts)
    found += _bucket(engine.stack) if required else []
    tell(found)
    if fatal := sum(problem.fatal for problem in found):
        raise OperationRefusedError(f"{fatal} problem(s) with {engine.stack.site.title}; nothing was touched")
    if any(host.pci is None for host in facts.hosts.values()) and any(node.gpus for node in nodes):
        # The token's rights are the least that are needed; the mappings were held against the hardware by Proxmox itself.
        scope = "cards by their mappings (IOMMU neighbours need Sys.Audit on /)"
    else:
        scope = "cards, IOMMU groups"
    console.print(
        f"[green]✓[/] {len(facts.hosts)} host(s) asked: {scope}, memory, disks [dim]({took(time.monotonic() - start)})[/]"
    )


def _bucket(stack: Stack) -> list[Problem]:
    """A store that takes no backups is no reason to stop, and one to know of."""
    return [
        Problem(f"backups: {finding.cause}; {finding.remedy}", fatal=False)
        for finding in bucket(stack)
        if finding.state is not Health.OK
    ]


def tell(found: list[Problem]) -> None:
    """One line a problem."""
    for problem in found:
        mark = "[red]✗[/]" if problem.fatal else "[yellow]![/]"
        errors.print(f"{mark} {problem.text}")
