"""The reference page of all layers, from their records."""

from config import layers
from config.layer_record import LayerRecord, PlannedLayer
from config.versions import CHARTS

HEAD = """# Layers

Generated from `config/layers.py` by `python -m config.schema`; a test keeps it current. What is installed on Kubernetes, in
an order that the needs give. A layer waits for the layers it needs that are switched on, and for nothing else.
[How to add one](../developers/add-a-layer.md).
"""


def render_layer_reference() -> str:
    """The page, as Markdown."""
    parts = [HEAD, _render_layers(), _render_needs(), _render_claims(), _render_planned()]
    return "\n".join(parts)


def _table(*rows: tuple[str, ...]) -> str:
    header, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([header, "|---" * len(rows[0]) + "|", *body, ""])


def _code(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names if name)


def _render_layers() -> str:
    rows = [(f"`{record.name}`", record.summary, _switches(record)) for record in layers.LAYERS]
    return _table(("layer", "what it is for", "switched on by"), *rows)


def _switches(record: LayerRecord) -> str:
    return _code(*dict.fromkeys((record.switch, *(release.switch for release in record.releases)))) or "always on"


def _render_needs() -> str:
    rows = [
        (
            f"`{record.name}`",
            _code(*(need.layer for need in record.needs)),
            "; ".join(f"`{need.demanded_by}` {need.reason}" for need in record.needs if need.demanded_by),
            _code(*record.secrets),
        )
        for record in layers.LAYERS
    ]
    title = (
        "## Needs\n\nWhat a setting demands must be switched on too; `./lyceum validate` refuses the site otherwise.\n"
    )
    return f"{title}\n{_table(('layer', 'waits for', 'demands', 'secrets'), *rows)}"


def _render_claims() -> str:
    rows = [
        (
            f"`{record.name}`",
            ", ".join(
                f"`{release.chart}` {CHARTS[release.chart].version} in `{release.namespace}`"
                for release in record.releases
            ),
            ", ".join(f"`{namespace.name}` ({namespace.level})" for namespace in record.namespaces),
            _code(*(page.label or page.setting for page in record.pages)),
            _code(*record.stand_ins),
        )
        for record in layers.LAYERS
    ]
    header = ("layer", "charts", "namespaces (Pod Security)", "pages", "stand-ins in the lab")
    title = (
        "## Charts, namespaces, pages\n\nNo tenant may have one of the namespaces, no machine or other page one of the host "
        "names. Each chart has a stand-in\nof its name in `lab/charts/catalog`; the stand-ins of operators are in `lab/controllers`.\n"
    )
    return f"{title}\n{_table(header, *rows)}"


def _render_planned() -> str:
    rows = [_planned_row(layer) for layer in layers.PLANNED_LAYERS]
    title = "## Planned\n\nNothing installs them yet; their names are reserved.\n"
    return f"{title}\n{_table(('layer', 'switched on by', 'namespaces', 'pages'), *rows)}"


def _planned_row(layer: PlannedLayer) -> tuple[str, ...]:
    return (
        f"`{layer.name}`",
        _code(layer.switch),
        _code(*layer.namespaces),
        _code(*(page.setting for page in layer.pages)),
    )
