"""`lyceum show`: what follows from a site file, and where each value comes from."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from components.cluster.k3s_config import node_labels, node_taints
from components.workspaces.profiles import in_effect
from config.base import size_text
from config.errors import UsageError
from config.paths import SITES
from config.provenance import DERIVED, Value, gpus, machines, settings
from config.required_secrets import needs
from config.site import STAGES, Site
from config.validate import validate_file
from config.yaml_source import Document
from ops.console import console, errors

_PROFILES = "workspaces.jupyterhub.profiles["
COLUMNS = ("role", "host", "address", "mac", "vm-id", "cores", "memory", "gpus")


def show_site(
    site: Annotated[str, typer.Argument(help="Name of a site: a file in config/sites.")],
    stage: Annotated[str, typer.Option(help=f"How much of it is in service: {', '.join(STAGES)}.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="For tools.")] = False,
) -> None:
    """Show everything that follows from a site file, and where each value comes from."""
    if stage not in STAGES:
        raise UsageError(f"stage `{stage}` is not one of {', '.join(STAGES)}")
    checked = validate_file(SITES / f"{site}.yaml")
    if checked.site is None or checked.document is None:
        for finding in checked.findings:
            errors.print(str(finding), markup=False)
        raise typer.Exit(1)
    found = effective_values(checked.site, checked.document, stage)
    if as_json:
        typer.echo(json.dumps({key: _to_json(value) for key, value in found.items()}, indent=2))
        return
    _print_site(checked.site, stage, found)


def effective_values(site: Site, document: Document, stage: str) -> dict[str, Any]:
    """Everything that follows: `settings`, `machines`, `gpus`, `profiles`, `secrets`."""
    nodes = site.in_service(stage)
    rooms = machines(site, document, stage)
    for node in nodes:
        if node.in_cluster:
            labels = ", ".join(f"{key}={value}" for key, value in sorted(node_labels(node).items()))
            for field, value, origin in (
                ("labels", labels, "its cards and disks"),
                ("taints", ", ".join(node_taints(node)), "role"),
            ):
                if value:
                    rooms[node.name].append(Value(f"{node.name}.{field}", value, DERIVED, origin=origin))
    given = bool(site.workspaces.jupyterhub.profiles)
    return {
        "site": site.name,
        "stage": stage,
        "settings": list(settings(site, document)),
        "machines": rooms,
        "gpus": gpus(site, stage),
        "profiles": [
            Value(
                profile.name,
                f"{profile.title}: {profile.cores} vCPU, {size_text(profile.memory)}"
                + (f", {profile.gpus} x {profile.gpu}" if profile.gpu else ""),
                "given" if given else DERIVED,
                document.line(("workspaces", "jupyterhub", "profiles", index)) if given else None,
                "" if given else "the GPUs in service",
            )
            for index, profile in enumerate(in_effect(site, tuple(node for node in nodes if node.in_cluster)))
        ],
        "secrets": [{"name": need.name, "what": need.what, "needed": need.demanded} for need in needs(site)],
    }


def _to_json(value: Any) -> Any:
    if isinstance(value, Value):
        return value.as_json()
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return value


def _print_site(site: Site, stage: str, found: dict[str, Any]) -> None:
    console.print(f"[bold]{site.title}[/] ({site.name}) at stage [bold]{stage}[/]\n")
    for title, values in (("Settings", found["settings"]), ("GPUs", found["gpus"]), ("Profiles", found["profiles"])):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("", no_wrap=True)
        table.add_column("value", overflow="fold")
        table.add_column("where from", no_wrap=True)
        for value in values:
            if (value.planned and value.source == "default") or value.path.startswith(_PROFILES):
                continue  # neither said nor read, or told below; --json has everything
            style = "dim" if value.source == "default" else None
            note = f"{value.whence}, planned" if value.planned else value.whence
            table.add_row(value.path, value.value, note, style=style)
        console.print(table)
        console.print()
    console.print(_machine_table(found["machines"]))
    console.print("\n[dim]Values of machines without a mark are given; ← is derived. --json tells from what.[/]")
    names = ", ".join(item["name"] for item in found["secrets"])
    console.print(f"\nSecrets: {names} (`./lyceum secrets list`)")


def _machine_table(rooms: dict[str, list[Value]]) -> Table:
    table = Table(title="Machines", title_justify="left", box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for name, values in rooms.items():
        cells = {value.path.removeprefix(f"{name}."): value for value in values}
        table.add_row(name, *(_machine_cell(cells.get(column)) for column in COLUMNS))
    return table


def _machine_cell(value: Value | None) -> str:
    if value is None:
        return ""
    return f"{value.value} [dim]←[/]" if value.source == DERIVED else value.value
