"""The preflight before `preview` and `up`."""

import time

from components.proxmox.client import PveError
from config.errors import LyceumError, OperationRefusedError
from config.finding import Finding, Severity
from ops.checks.doctor.bucket import check_bucket
from ops.checks.preflight.checks import check_machines, find_deleted_vms
from ops.checks.preflight.facts import gather_facts
from ops.clients.proxmox import connect_proxmox
from ops.console import console, errors, format_duration
from ops.engine.engine import Engine
from ops.engine.pulumi_state import State
from ops.engine.stack import Stack


def run_preflight(engine: Engine, state: State, stage: str, *, required: bool) -> None:
    """Asks Proxmox whether the machines of a stage can be what the site file says.

    Args:
        engine: The stack.
        state: Its state.
        stage: Which machines.
        required: Whether Proxmox must answer; a preview is possible without it, and reports that.

    Raises:
        OperationRefusedError: something must be corrected first.
    """
    if not required and engine.stack.find_secret("proxmox-token") is None:
        console.print("[yellow]![/] no Proxmox token here: cards, memory and disks are not checked")
        return
    nodes = engine.stack.nodes_at(stage)
    start = time.monotonic()
    try:
        facts = gather_facts(connect_proxmox(engine), {node.host for node in nodes}, engine.stack.site.proxmox.pool)
    except PveError as error:
        if required:
            raise LyceumError(f"Proxmox: {error}") from error
        console.print(f"[yellow]![/] cards, memory and disks are not checked: {error}")
        return
    found = check_machines(engine.stack.site, nodes, facts)
    found += find_deleted_vms(engine.stack.name, nodes, state.vms, facts)
    found += _backup_warnings(engine.stack) if required else []
    _print_findings(found)
    if fatal := sum(one.severity is Severity.ERROR for one in found):
        raise OperationRefusedError(f"{fatal} problem(s) with {engine.stack.site.title}; nothing was changed")
    if any(host.pci is None for host in facts.hosts.values()) and any(node.gpus for node in nodes):
        # The token has only the privileges it needs; Proxmox itself compares the mappings with the hardware.
        scope = "cards by their mappings (IOMMU neighbours need Sys.Audit on /)"
    else:
        scope = "cards, IOMMU groups"
    console.print(
        f"[green]✓[/] {len(facts.hosts)} host(s) checked: {scope}, memory, disks [dim]({format_duration(time.monotonic() - start)})[/]"
    )


def _backup_warnings(stack: Stack) -> list[Finding]:
    """A bucket that does not take backups does not stop an update, and is reported."""
    return [
        Finding("backups", one.rule, one.remedy, Severity.WARNING)
        for one in check_bucket(stack)
        if one.severity is not Severity.OK
    ]


def _print_findings(found: list[Finding]) -> None:
    for one in found:
        errors.print("[red]✗[/] " if one.severity is Severity.ERROR else "[yellow]![/] ", end="")
        errors.print(str(one), markup=False)
