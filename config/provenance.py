"""Where every effective value of a site comes from: the file, a default, or another value."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from config.base import Model, size_text
from config.capacity import offered
from config.finding import FieldPath, path_text
from config.hosts import Node, NodeGroup, Role
from config.introspection import fields, holds_size
from config.planned import planned
from config.site import Site
from config.yaml_source import Document

GIVEN, DEFAULT, DERIVED = "given", "default", "derived"


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value.

    Attributes:
        path: Where it is in the model: `network.search`, or the name of a machine and a field of it.
        value: As people write it.
        source: `given`, `default` or `derived`.
        line: The line that gives it; None unless it is given.
        origin: What it is derived from; empty unless it is derived.
        planned: Whether nothing reads it yet.
    """

    path: str
    value: str
    source: str
    line: int | None = None
    origin: str = ""
    planned: bool = False

    def as_json(self) -> dict[str, Any]:
        """For tools."""
        return asdict(self)

    @property
    def whence(self) -> str:
        """The source in words."""
        return {GIVEN: f"line {self.line}", DEFAULT: "default", DERIVED: f"from {self.origin}"}[self.source]


def settings(site: Site, document: Document) -> Iterator[Value]:
    """Every setting outside hosts, nodes and shapes that has a value, in the order of the model."""
    for name in fields(Site):
        if name not in {"hosts", "nodes"}:
            yield from _walk((name,), getattr(site, _attribute(Site, name)), document)
    yield from _derived_settings(site)


def _attribute(model: type[Model], alias: str) -> str:
    return next(name for name, info in model.model_fields.items() if (info.alias or name) == alias)


def _walk(place: FieldPath, value: Any, document: Document) -> Iterator[Value]:
    if isinstance(value, Model):
        for name, info in fields(type(value)).items():
            inner = getattr(value, _attribute(type(value), name))
            yield from _walk((*place, name), size_text(inner) if inner and holds_size(info) else inner, document)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk((*place, str(key)), item, document)
    elif isinstance(value, tuple) and value and isinstance(value[0], Model):
        for index, item in enumerate(value):
            yield from _walk((*place, index), item, document)
    elif value is not None and value != ():
        given = document.has(place)
        yield Value(
            path=path_text(place),
            value=_text(value),
            source=GIVEN if given else DEFAULT,
            line=document.line(place) if given else None,
            planned=planned(place) is not None,
        )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _derived_settings(site: Site) -> Iterator[Value]:
    network = site.network
    if network.search is None:
        yield Value("network.search", site.domain, DERIVED, origin="domain")
    if network.ingress_address is None:
        yield Value(
            "network.ingress-address", str(network.load_balancers.first), DERIVED, origin="network.load-balancers"
        )


def machines(site: Site, document: Document, stage: str) -> dict[str, list[Value]]:
    """Every machine in service, with each of its values."""
    serving = {node.name for node in site.in_service(stage)}
    return {
        node.name: list(_machine(("nodes", index), site.nodes[index], node, document))
        for index, node in site.machines_of
        if node.name in serving
    }


def _machine(place: FieldPath, group: NodeGroup, node: Node, document: Document) -> Iterator[Value]:
    def told(field: str, value: str, derived_from: str = "") -> Value:
        at = (*place, field)
        if derived_from and not document.has(at):
            return Value(f"{node.name}.{field}", value, DERIVED, origin=derived_from)
        return Value(f"{node.name}.{field}", value, GIVEN if document.has(at) else DEFAULT, document.line(at))

    yield told("role", node.role)
    yield told("host", node.host)
    yield told("address", str(node.address))
    yield told("mac", node.mac, "address")
    yield told("vm-id", str(node.vm_id), "address and network.cidr")
    shape = f"shapes.{group.shape}"
    for field, size in (("disk", node.shape.disk), ("scratch", node.shape.scratch), ("ceph", node.shape.ceph)):
        if size:
            yield Value(f"{node.name}.{field}", size_text(size), DERIVED, origin=shape)
    yield Value(f"{node.name}.cores", str(node.shape.cores), DERIVED, origin=shape)
    yield Value(f"{node.name}.memory", size_text(node.shape.memory), DERIVED, origin=shape)
    if node.gpus:
        cards = ", ".join(f"{gpu.model} at {gpu.pci} ({gpu.sharing})" for gpu in node.gpus)
        yield told("gpus", cards, f"the cards of {node.host}" if node.role is Role.WORKER else "")
        yield Value(f"{node.name}.mapping", node.mapping, DERIVED, origin="name")
    yield told("shift", node.shift)


def gpus(site: Site, stage: str) -> list[Value]:
    """GPUs by kind that the stage offers."""
    found = offered(site.in_service(stage))
    return [Value(kind, str(count), DERIVED, origin="hosts[].gpus") for kind, count in sorted(found.items())]
