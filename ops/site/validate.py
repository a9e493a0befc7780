"""`lyceum validate`: lists every mistake of the site files, offline."""

import json
from typing import Annotated

import typer
from rich.markup import escape

from config.errors import UsageError
from config.finding import Finding
from config.immutable import find_immutable_changes, read_export
from config.paths import SITES, project_path, site_path
from config.planned import planned_settings
from config.stackfile import validate_stack_files
from config.validate import ValidationResult, validate_file
from ops.console import console, errors


def validate_sites(
    site: Annotated[str | None, typer.Argument(help="Name of a site in config/sites, or path of a site file.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every site, and every stack file.")] = False,
    deployed: Annotated[
        typer.FileText | None,
        typer.Option(help="Output of `pulumi stack export`: also reject changes of what is fixed once deployed."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Lists every mistake of a site file, and settings that have no effect yet; changes nothing."""
    if not site and not everything:
        raise UsageError("no site given: name one, or use --all. Sites: " + ", ".join(site_names()))
    files = [SITES / f"{name}.yaml" for name in site_names()] if everything else [site_path(site or "")]
    try:
        export = read_export(deployed.read()) if deployed else {}
    except ValueError as error:
        raise UsageError(f"--deployed {error}") from error
    findings: list[Finding] = []
    unused: list[str] = []
    for file in files:
        result = validate_file(file)
        findings += result.findings
        unused += [f"{project_path(file)}:{line}: {setting}" for setting, line in unused_settings(result)]
        if deployed and result.site and result.document:
            findings += find_immutable_changes(file, result.site, result.document, export)
    if everything:
        findings += validate_stack_files()
    if as_json:
        typer.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        _print_result([file.stem for file in files], findings, unused)
    if findings:
        raise typer.Exit(1)


def site_names() -> list[str]:
    """Names of the sites in config/sites."""
    return sorted(path.stem for path in SITES.glob("*.yaml"))


def unused_settings(result: ValidationResult) -> list[tuple[str, int]]:
    """Settings of a valid site that nothing reads yet, each with its line."""
    return list(planned_settings(result.document)) if result.site and result.document else []


def _print_result(names: list[str], findings: list[Finding], unused: list[str]) -> None:
    for place in unused:
        console.print(f"[yellow]![/] [yellow]{escape(place)}[/] has no effect yet")
    for finding in findings:
        errors.print(str(finding), markup=False)
    if findings:
        errors.print(f"[red]✗[/] {len(findings)} mistake(s)")
    elif unused:
        console.print(
            f"[yellow]![/] {', '.join(names)}: no mistakes, but {len(unused)} setting(s) have no effect yet: "
            "Lyceum checks them, and nothing reads them"
        )
    else:
        console.print(f"[green]✓[/] {', '.join(names)}: no mistakes")
