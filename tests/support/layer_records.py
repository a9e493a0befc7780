"""What makes the record of a layer complete, beyond the fields that its dataclass demands."""

from collections.abc import Iterator
from importlib import import_module

from components.layer import component_class
from config import layers
from config.layer_record import LayerRecord, setting
from config.versions import CHARTS
from lab.charts.crds import build_definitions
from lab.charts.stand_in import CatalogEntry, load_catalog
from tests.support.sites import site


def gaps(record: LayerRecord) -> Iterator[str]:
    """What a record names and is not there, or what is there and the record does not name."""
    try:
        component_class(record)
    except (ImportError, AttributeError, TypeError) as error:
        yield f"component {record.component}: {error}"
    for switch in (record.switch, *(release.switch for release in record.releases)):
        try:
            setting(site(), switch) if switch else None
        except AttributeError:
            yield f"switch {switch}: there is no such setting"
    for module in record.stand_ins:
        if not _has_stand_in(module):
            yield f"stand-in {module}: lab/controllers has no such module with `decide`"
    yield from _chart_gaps(record)
    yield from _need_gaps(record)


def _has_stand_in(module: str) -> bool:
    try:
        return hasattr(import_module(f"lab.controllers.{module}"), "decide")
    except ImportError:
        return False


def _chart_gaps(record: LayerRecord) -> Iterator[str]:
    entries = {entry.name: entry for entry in load_catalog()}
    groups = {(api.definitions, api.group) for one in layers.LAYERS for api in one.apis}
    namespaces = {namespace.name for one in layers.LAYERS for namespace in one.namespaces}
    for release in record.releases:
        pin, entry = CHARTS.get(release.chart), entries.get(release.chart)
        if pin is None:
            yield f"chart {release.chart}: config/versions.py pins no version"
        if entry is None:
            yield f"chart {release.chart}: lab/charts/catalog has no stand-in"
        elif pin and entry.version != pin.version:
            yield f"chart {release.chart}: the stand-in is {entry.version}, the pin {pin.version}"
        for group in api_groups(entry) if entry else ():
            if (release.chart, group) not in groups:
                yield f"chart {release.chart}: no record names its API group {group}"
        if release.namespace not in namespaces:
            yield f"chart {release.chart}: no layer creates the namespace {release.namespace}"


def api_groups(entry: CatalogEntry) -> set[str]:
    """API groups of a stand-in's custom resource definitions."""
    return {str(item["spec"]["group"]) for item in build_definitions(entry.crds)} if entry.crds else set()


def _need_gaps(record: LayerRecord) -> Iterator[str]:
    names = [one.name for one in layers.LAYERS]
    charts = {release.chart for one in layers.LAYERS for release in one.releases}
    for need in record.needs:
        if need.layer not in names[: names.index(record.name)]:
            yield f"need {need.layer}: no layer before {record.name} has this name"
        if bool(need.demanded_by) != bool(need.reason):
            yield f"need {need.layer}: a demand has a reason, and nothing else has one"
    for api in record.apis:
        for chart in {api.definitions, api.operator} - charts:
            yield f"API group {api.group}: no layer installs the chart {chart}"
    for page in record.pages:
        if bool(page.label) == bool(page.setting):
            yield "page: it has either a label or a setting that chooses one"
