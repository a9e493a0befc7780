"""`lyceum show`: what follows from a site file, and where each value comes from."""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from components.cluster.k3s_config import node_taints
from components.workspaces.profiles import effective_profiles
from config import layers
from config.base import format_size
from config.errors import UsageError
from config.layers import page_urls
from config.node_labels import node_labels
from config.paths import site_path
from config.provenance import DERIVED, EffectiveValue, trace_gpus, trace_machines, trace_settings
from config.required_secrets import required_secrets
from config.site import STAGES, Site
from config.validate import validate_file
from config.yaml_source import Document
from ops.console import console, errors
from ops.site.validate import unused_settings

_PROFILES = "workspaces.jupyterhub.profiles["
_GAP, _INDENT = 2, "  "
_WIDE_VALUE = 40
"""Characters for a value below which settings are grouped by section, so that paths take less room."""
_NARROW_GPUS = 26
"""Characters for the GPUs of a machine below which each machine is a block of lines: `a100-40gb at 0000:01:00.0`."""
COLUMNS = ("role", "host", "address", "mac", "vm-id", "cores", "memory", "gpus")


def show_site(
    site: Annotated[str, typer.Argument(help="Name of a site in config/sites, or path of a site file.")],
    stage: Annotated[str, typer.Option(help=f"Stage of the roll-out: {', '.join(STAGES)}.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Shows everything that follows from a site file, and where each value comes from."""
    if stage not in STAGES:
        raise UsageError(f"stage `{stage}` is not one of {', '.join(STAGES)}")
    result = validate_file(site_path(site))
    if result.site is None or result.document is None:
        for finding in result.findings:
            errors.print(str(finding), markup=False)
        raise typer.Exit(1)
    found = effective_values(result.site, result.document, stage)
    if as_json:
        typer.echo(json.dumps({key: _to_json(value) for key, value in found.items()}, indent=2))
        return
    _print_site(result.site, stage, found, unused_settings(result))


def effective_values(site: Site, document: Document, stage: str) -> dict[str, Any]:
    """What follows from a site: `settings`, `machines`, `gpus`, `profiles`, `layers`, `secrets`."""
    nodes = site.in_service(stage)
    values_by_machine = trace_machines(site, document, stage)
    for node in nodes:
        if node.in_cluster:
            labels = ", ".join(f"{key}={value}" for key, value in sorted(node_labels(node).items()))
            for field, value, origin in (
                ("labels", labels, "its cards and disks"),
                ("taints", ", ".join(node_taints(node)), "role"),
            ):
                if value:
                    values_by_machine[node.name].append(
                        EffectiveValue(f"{node.name}.{field}", value, DERIVED, origin=origin)
                    )
    given = bool(site.workspaces.jupyterhub.profiles)
    return {
        "site": site.name,
        "stage": stage,
        "settings": list(trace_settings(site, document)),
        "machines": values_by_machine,
        "gpus": trace_gpus(site, stage),
        "profiles": [
            EffectiveValue(
                profile.name,
                f"{profile.title}: {profile.cores} vCPU, {format_size(profile.memory)}"
                + (f", {profile.gpus} x {profile.gpu}" if profile.gpu else ""),
                "given" if given else DERIVED,
                document.line(("workspaces", "jupyterhub", "profiles", index)) if given else None,
                "" if given else "the GPUs in service",
            )
            for index, profile in enumerate(effective_profiles(site, tuple(node for node in nodes if node.in_cluster)))
        ],
        "layers": installed_layers(site),
        "secrets": [
            {"name": need.name, "what": need.what, "needed": need.required_now} for need in required_secrets(site)
        ],
    }


def installed_layers(site: Site) -> list[dict[str, Any]]:
    """Name, switch, charts with their versions, and addresses of pages of each layer that the site has."""
    return [
        {
            "name": record.name,
            "switch": record.switch,
            "charts": {
                release.chart: site.chart(release.chart).version for release in record.releases if release.is_on(site)
            },
            "pages": page_urls(site, record),
        }
        for record in layers.LAYERS
        if record.is_on(site)
    ]


def _chart_values(found: list[dict[str, Any]]) -> list[EffectiveValue]:
    return [
        EffectiveValue(
            layer["name"],
            ", ".join(f"{chart} {version}" for chart, version in layer["charts"].items()) or "no chart",
            DERIVED,
            origin=layer["switch"] or "its parts",
        )
        for layer in found
    ]


def _page_values(found: list[dict[str, Any]]) -> list[EffectiveValue]:
    return [EffectiveValue(layer["name"], page, DERIVED, origin="domain") for layer in found for page in layer["pages"]]


def _to_json(value: Any) -> Any:
    if isinstance(value, EffectiveValue):
        return value.as_json()
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return value


def _print_site(site: Site, stage: str, found: dict[str, Any], unused: list[tuple[str, int]]) -> None:
    console.print(f"[bold]{site.title}[/] ({site.name}) at stage [bold]{stage}[/]")
    # Settings that are neither given nor read, and profiles, which follow below; --json has all of them.
    listed = [
        value
        for value in found["settings"]
        if not (value.planned and value.source == "default") and not value.path.startswith(_PROFILES)
    ]
    for title, values in (
        ("Settings", listed),
        ("Layers", _chart_values(found["layers"])),
        ("Pages", _page_values(found["layers"])),
        ("GPUs", found["gpus"]),
        ("Profiles", found["profiles"]),
    ):
        console.print(f"\n[bold]{title}[/]")
        for table in value_tables(values, console.width):
            console.print(table)
    console.print("\n[bold]Machines[/]")
    for block in machine_blocks(found["machines"], console.width):
        console.print(block)
    console.print("\n[dim]←: derived; the other values of machines are given. --json names the source of each.[/]")
    names = ", ".join(item["name"] for item in found["secrets"])
    console.print(f"\nSecrets: {names} (./lyceum secrets list {site.name})")
    for setting, line in unused:
        console.print(f"[yellow]![/] [yellow]{escape(setting)}[/] (line {line}) has no effect yet: nothing reads it")


def value_tables(values: Sequence[EffectiveValue], width: int) -> list[Table | Text]:
    """One table with a path in each row; where that leaves too little of `width` for values, one table a section."""
    source_width = max((len(_source_text(value)) for value in values), default=0)
    value_width = max((len(value.value) for value in values), default=0)
    name_width = max((len(value.path) for value in values), default=0)
    room = width - source_width - 2 * _GAP
    if room - name_width >= min(value_width, _WIDE_VALUE):
        widths = (name_width, min(value_width, room - name_width), source_width)
        return [_value_table([(value.path, value) for value in values], widths)]
    sections: dict[str, list[tuple[str, EffectiveValue]]] = {}
    for value in values:
        section, name = _split_path(value.path)
        sections.setdefault(section, []).append((_INDENT + name if section else name, value))
    name_width = max(len(name) for rows in sections.values() for name, _ in rows)
    widths = (name_width, min(value_width, room - name_width), source_width)
    found: list[Table | Text] = []
    for section, rows in sections.items():
        found += [Text(section)] if section else []
        found.append(_value_table(rows, widths))
    return found


def _split_path(path: str) -> tuple[str, str]:
    """`network.cidr` -> `network` and `cidr`."""
    section, _, name = path.rpartition(".")
    return section, name


def _source_text(value: EffectiveValue) -> str:
    return f"{value.source_text}, no effect yet" if value.planned else value.source_text


def _value_table(rows: Iterable[tuple[str, EffectiveValue]], widths: tuple[int, int, int]) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for width in widths:
        table.add_column(width=width, overflow="fold")
    for name, value in rows:
        style = "yellow" if value.planned else "dim" if value.source == "default" else None
        table.add_row(Text(name), Text(value.value), Text(_source_text(value)), style=style)
    return table


def machine_blocks(machines: dict[str, list[EffectiveValue]], width: int) -> list[Table | Text]:
    """One table with a machine in each row where it fits into `width`; else a block of lines for each machine."""
    rows = [(name, *(_machine_cell(name, column, values) for column in COLUMNS)) for name, values in machines.items()]
    header = ("name", *COLUMNS)
    widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    if sum(widths[:-1]) + len(widths) * _GAP + min(widths[-1], _NARROW_GPUS) <= width:
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        for column in header:
            table.add_column(column, no_wrap=column != COLUMNS[-1], overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row[:-1]), Text(row[-1].replace(", ", "\n")))
        return [table]
    return [Text(line) for row in rows for line in _machine_lines(dict(zip(header, row, strict=True)), width)]


def _machine_cell(name: str, column: str, values: list[EffectiveValue]) -> str:
    value = next((value for value in values if value.path == f"{name}.{column}"), None)
    if value is None:
        return ""
    return f"{value.value} ←" if value.source == DERIVED else value.value


def _machine_lines(cells: dict[str, str], width: int) -> list[str]:
    """The name, then its values with their names, as many on a line as fit."""
    lines = [cells["name"], ""]
    for column in COLUMNS:
        for part in filter(None, cells[column].split(", ")):
            word = f"{column.removesuffix('s') if column == 'gpus' else column} {part}"
            if not lines[-1] or len(lines[-1]) + _GAP + len(word) > width:
                lines.append(f"{_INDENT}{word}")
            else:
                lines[-1] += " " * _GAP + word
    return [line for line in lines if line]
