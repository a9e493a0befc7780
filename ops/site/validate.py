"""`lyceum validate`: every mistake of the site files, offline."""

import json
from typing import Annotated

import typer

from config.errors import UsageError
from config.finding import Finding
from config.immutable import drift, read_export
from config.paths import SITES
from config.planned import kept_for_later
from config.stackfile import check_stacks
from config.validate import validate_file
from ops.console import console, errors


def validate_sites(
    site: Annotated[str | None, typer.Argument(help="Name of a site: a file in config/sites.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every site, and every stack file.")] = False,
    deployed: Annotated[
        typer.FileText | None,
        typer.Option(help="Output of `pulumi stack export`: also refuse what cannot change once deployed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For tools.")] = False,
) -> None:
    """Tell every mistake of a site file at once, without touching anything."""
    if not site and not everything:
        raise UsageError("which site? Name one, or say --all. Sites: " + ", ".join(site_names()))
    names = site_names() if everything else [site or ""]
    try:
        export = read_export(deployed.read()) if deployed else {}
    except ValueError as error:
        raise UsageError(f"--deployed {error}") from error
    findings: list[Finding] = []
    for name in names:
        checked = validate_file(SITES / f"{name}.yaml")
        findings += checked.findings
        if not as_json and checked.site and checked.document:
            for place, line in kept_for_later(checked.document):
                console.print(f"[dim]{name}.yaml:{line}: {place}: checked and kept; nothing reads it yet[/]")
        if deployed and checked.site and checked.document:
            findings += drift(SITES / f"{name}.yaml", checked.site, checked.document, export)
    if everything:
        findings += check_stacks()
    if as_json:
        typer.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            errors.print(str(finding), markup=False)
    if findings:
        if not as_json:
            errors.print(f"[red]✗[/] {len(findings)} mistake(s)")
        raise typer.Exit(1)
    if not as_json:
        console.print(f"[green]✓[/] {', '.join(names)}: no mistakes")


def site_names() -> list[str]:
    """Names of the sites."""
    return sorted(path.stem for path in SITES.glob("*.yaml"))
