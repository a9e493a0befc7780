"""`lyceum doctor`."""

import getpass
import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated

import typer

from components.proxmox.client import PveError
from config.errors import FAILED, UsageError
from config.finding import Finding, Severity
from config.paths import PROJECT
from config.site import STAGES, Site
from ops.checks.doctor.access import check_access
from ops.checks.doctor.bucket import check_bucket
from ops.checks.doctor.finding import failed, json_record, report_errors
from ops.checks.doctor.hardware import check_hardware, check_image
from ops.checks.doctor.network import check_addresses, check_bridges, check_names
from ops.checks.doctor.probe import LocalNetwork, Network
from ops.clients.proxmox import ProxmoxApi
from ops.console import console
from ops.engine.stack import find_stack, load_valid_site

MARKS = {
    Severity.OK: "[green]✓[/]",
    Severity.ERROR: "[red]✗[/]",
    Severity.WARNING: "[yellow]![/]",
    Severity.UNKNOWN: "[yellow]?[/]",
}


def doctor(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    *,
    stage: Annotated[str, typer.Option(help="Look at the machines of this stage.")] = "all",
    stack: Annotated[
        str | None, typer.Option("--stack", help="Whose token is used, where the site has several stacks.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Sign in as this user, root@pam say, to see all hardware.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For tools.")] = False,
) -> None:
    """Checks the real Proxmox and the network before a site is built; changes nothing."""
    found = load_valid_site(site)
    if stage not in STAGES:
        raise UsageError(f"stage `{stage}` is not one of {', '.join(STAGES)}")
    chosen = find_stack(site, stack)
    chosen.enter_network()
    findings = []
    token = None if user else chosen.secret("proxmox-token")
    for finding in chain(
        run_checks(lambda: _sign_in(found, user, token), found, stage, LocalNetwork()), check_bucket(chosen)
    ):
        findings.append(finding)
        if not as_json:
            _print_finding(finding)
    if as_json:
        typer.echo(json.dumps([json_record(finding) for finding in findings], indent=2))
    faults = sum(finding.severity is Severity.ERROR for finding in findings)
    if faults and not as_json:
        console.print(f"\n{faults} problem(s) to correct before {found.title} can be built")
    if faults:
        raise typer.Exit(FAILED)


def run_checks(connect: Callable[[], ProxmoxApi], site: Site, stage: str, network: Network) -> Iterator[Finding]:
    """Every check, one after the other; nothing is raised.

    Args:
        connect: Makes the client.
        site: The campus.
        stage: Whose machines are looked at.
        network: How the network is seen.
    """
    nodes = site.in_service(stage)
    try:
        pve = connect()
    except PveError as error:
        yield failed("reachable", error.message, error.remedy or "correct `proxmox.endpoint` or `proxmox.ca-file`")
        yield from check_names(site, network)
        return
    reached = True
    for finding in check_access(pve, site):
        reached = reached and not (finding.subject == "reachable" and finding.severity is Severity.ERROR)
        yield finding
    if reached:
        yield from report_errors("hardware", check_hardware(pve, site, nodes))
        yield from report_errors("bridge", check_bridges(pve, site, nodes))
        yield from report_errors("image", check_image(pve, site, nodes))
        yield from report_errors("addresses", check_addresses(pve, site, nodes, network))
    yield from check_names(site, network)


def _sign_in(site: Site, user: str | None, token: str | None) -> ProxmoxApi:
    ca = PROJECT / site.proxmox.ca_file if site.proxmox.ca_file else None
    api = ProxmoxApi(str(site.proxmox.endpoint), ca, token)
    if user:
        api.sign_in(user, getpass.getpass(f"{user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n"))
    return api


def _print_finding(finding: Finding) -> None:
    console.print(f"{MARKS[finding.severity]} [bold]{finding.subject_text}[/] ", end="")
    console.print(finding.rule, markup=False)
    if finding.remedy:
        console.print(f"    → {finding.remedy}", markup=False)
