"""The effective values of a site, and where each comes from: the file, a default, or another value."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from config.base import Model, format_size
from config.capacity import offered_gpus
from config.finding import FieldPath, path_text
from config.hosts import Node, NodeGroup, Role
from config.introspection import fields_by_alias, holds_size
from config.planned import find_planned
from config.site import Site
from config.yaml_source import Document

GIVEN, DEFAULT, DERIVED = "given", "default", "derived"


@dataclass(frozen=True, slots=True)
class EffectiveValue:
    """One effective value.

    Attributes:
        path: Path in the model: `network.search`; or the name of a machine and a field of it.
        value: The value, as a site file has it.
        source: `given`, `default` or `derived`.
        line: Line in the file; None unless it is given.
        origin: What it is derived from; empty unless it is derived.
        planned: Whether no component reads it yet.
    """

    path: str
    value: str
    source: str
    line: int | None = None
    origin: str = ""
    planned: bool = False

    def as_json(self) -> dict[str, Any]:
        """The form that `show --json` prints."""
        return asdict(self)

    @property
    def source_text(self) -> str:
        """The source in words."""
        return {GIVEN: f"line {self.line}", DEFAULT: "default", DERIVED: f"from {self.origin}"}[self.source]


def trace_settings(site: Site, document: Document) -> Iterator[EffectiveValue]:
    """Every setting outside `hosts` and `nodes` that has a value, in the order of the model."""
    for name in fields_by_alias(Site):
        if name not in {"hosts", "nodes"}:
            yield from _trace_value((name,), getattr(site, _attribute_name(Site, name)), document)
    yield from _derived_settings(site)


def _attribute_name(model: type[Model], alias: str) -> str:
    return next(name for name, info in model.model_fields.items() if (info.alias or name) == alias)


def _trace_value(place: FieldPath, value: Any, document: Document) -> Iterator[EffectiveValue]:
    if isinstance(value, Model):
        for name, info in fields_by_alias(type(value)).items():
            inner = getattr(value, _attribute_name(type(value), name))
            yield from _trace_value(
                (*place, name), format_size(inner) if inner and holds_size(info) else inner, document
            )
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _trace_value((*place, str(key)), item, document)
    elif isinstance(value, tuple) and value and isinstance(value[0], Model):
        for index, item in enumerate(value):
            yield from _trace_value((*place, index), item, document)
    elif value is not None and value != ():
        given = document.has(place)
        yield EffectiveValue(
            path=path_text(place),
            value=_format_value(value),
            source=GIVEN if given else DEFAULT,
            line=document.line(place) if given else None,
            planned=find_planned(place) is not None,
        )


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _derived_settings(site: Site) -> Iterator[EffectiveValue]:
    network = site.network
    if network.search is None:
        yield EffectiveValue("network.search", site.domain, DERIVED, origin="domain")
    if network.ingress_address is None:
        yield EffectiveValue(
            "network.ingress-address", str(network.load_balancers.first), DERIVED, origin="network.load-balancers"
        )


def trace_machines(site: Site, document: Document, stage: str) -> dict[str, list[EffectiveValue]]:
    """Every machine in service, with its values."""
    serving = {node.name for node in site.in_service(stage)}
    return {
        node.name: list(_trace_machine(("nodes", index), site.nodes[index], node, document))
        for index, node in site.nodes_by_group
        if node.name in serving
    }


def _trace_machine(place: FieldPath, group: NodeGroup, node: Node, document: Document) -> Iterator[EffectiveValue]:
    def value_of(field: str, value: str, derived_from: str = "") -> EffectiveValue:
        at = (*place, field)
        if derived_from and not document.has(at):
            return EffectiveValue(f"{node.name}.{field}", value, DERIVED, origin=derived_from)
        return EffectiveValue(f"{node.name}.{field}", value, GIVEN if document.has(at) else DEFAULT, document.line(at))

    yield value_of("role", node.role)
    yield value_of("host", node.host)
    yield value_of("address", str(node.address))
    yield value_of("mac", node.mac, "address")
    yield value_of("vm-id", str(node.vm_id), "address and network.cidr")
    shape = f"shapes.{group.shape}"
    for field, size in (("disk", node.shape.disk), ("scratch", node.shape.scratch), ("ceph", node.shape.ceph)):
        if size:
            yield EffectiveValue(f"{node.name}.{field}", format_size(size), DERIVED, origin=shape)
    yield EffectiveValue(f"{node.name}.cores", str(node.shape.cores), DERIVED, origin=shape)
    yield EffectiveValue(f"{node.name}.memory", format_size(node.shape.memory), DERIVED, origin=shape)
    if node.gpus:
        cards = ", ".join(f"{gpu.model} at {gpu.pci} ({gpu.sharing})" for gpu in node.gpus)
        yield value_of("gpus", cards, f"the cards of {node.host}" if node.role is Role.WORKER else "")
        yield EffectiveValue(f"{node.name}.mapping", node.mapping, DERIVED, origin="name")
    yield value_of("shift", node.shift)


def trace_gpus(site: Site, stage: str) -> list[EffectiveValue]:
    """The GPUs of a stage by kind."""
    found = offered_gpus(site.in_service(stage))
    return [EffectiveValue(kind, str(count), DERIVED, origin="hosts[].gpus") for kind, count in sorted(found.items())]
