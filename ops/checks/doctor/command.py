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
from config.site import STAGES, Site
from ops.checks.doctor.access import access
from ops.checks.doctor.bucket import bucket
from ops.checks.doctor.finding import Finding, State, fault, guarded
from ops.checks.doctor.hardware import hardware, image
from ops.checks.doctor.network import addresses, bridges, names
from ops.checks.doctor.probe import Network, Probe
from ops.clients.proxmox import Api
from ops.console import console
from ops.engine.site_stack import sound_site, stack_of
from ops.engine.stack import PROJECT

MARKS = {State.OK: "[green]✓[/]", State.FAULT: "[red]✗[/]", State.UNKNOWN: "[yellow]?[/]"}


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
    found = sound_site(site)
    if stage not in STAGES:
        raise UsageError(f"stage `{stage}` is not one of {', '.join(STAGES)}")
    chosen = stack_of(site, stack)
    chosen.enter_network()
    findings = []
    token = None if user else chosen.secret("proxmox-token")
    for finding in chain(examine(lambda: _sign_in(found, user, token), found, stage, Network()), bucket(chosen)):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    if as_json:
        typer.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    faults = sum(finding.state is State.FAULT for finding in findings)
    if faults and not as_json:
        console.print(f"\n{faults} thing(s) to put right before {found.title} can be built")
    if faults:
        raise typer.Exit(FAILED)


def examine(connect: Callable[[], Api], site: Site, stage: str, probe: Probe) -> Iterator[Finding]:
    """Every check, one after the other; nothing is raised.

    Args:
        connect: Makes the client.
        site: The campus.
        stage: Whose machines are looked at.
        probe: How the network is seen.
    """
    nodes = site.in_service(stage)
    try:
        pve = connect()
    except PveError as error:
        yield fault("reachable", str(error), "correct `proxmox.endpoint` or `proxmox.ca-file`")
        yield from names(site, probe)
        return
    reached = True
    for finding in access(pve, site):
        reached = reached and not (finding.check == "reachable" and finding.state is State.FAULT)
        yield finding
    if reached:
        yield from guarded("hardware", hardware(pve, site, nodes))
        yield from guarded("bridge", bridges(pve, site, nodes))
        yield from guarded("image", image(pve, site, nodes))
        yield from guarded("addresses", addresses(pve, site, nodes, probe))
    yield from names(site, probe)


def _sign_in(site: Site, user: str | None, token: str | None) -> Api:
    ca = PROJECT / site.proxmox.ca_file if site.proxmox.ca_file else None
    api = Api(str(site.proxmox.endpoint), ca, token)
    if user:
        api.sign_in(user, getpass.getpass(f"{user}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n"))
    return api


def _tell(finding: Finding) -> None:
    console.print(f"{MARKS[finding.state]} [bold]{finding.check}[/] ", end="")
    console.print(finding.cause, markup=False)
    if finding.remedy:
        console.print(f"    → {finding.remedy}", markup=False)
