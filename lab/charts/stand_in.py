"""A catalogue entry: which values move what in a stand-in chart, read from ``catalog/<chart>.yaml``.

What the chart makes, its workloads, Services, monitors and definitions, comes from the facts of the real chart
(``lab.charts.facts``). An entry states only which of the release's values an object follows, and the few objects that
the values shape as a whole, as templates. ``docs/charts.md`` shows how to write one.
"""

import functools
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lab.charts.facts import NOT_CARRIED, WORKLOADS, Object, load_facts, matches

CATALOG = Path(__file__).parent / "catalog"

GENERATED = (
    *WORKLOADS,
    "Service",
    "ServiceAccount",
    "ServiceMonitor",
    "PodMonitor",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PriorityClass",
    "Certificate",
    "Issuer",
)
"""Kinds that are made from the facts; one of another kind is a template of the entry."""

Values = dict[str, Any]


class CatalogError(ValueError):
    """A catalogue entry contradicts itself; the message names the file, the field and the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Crds(_Strict):
    """The custom resource definitions of a chart."""

    place: Literal["crds", "templates"] = "crds"
    """``crds``: Helm installs them once and never deletes them; ``templates``: they live and die with the release."""
    when: tuple[str, ...] = ()
    """Conditions (see `Follow.when`); only for ``place: templates``."""
    keep: bool = False
    """Whether they carry ``helm.sh/resource-policy: keep``, so that uninstalling leaves them."""
    kinds: dict[str, dict[str, str]] = Field(default_factory=dict)
    """API group -> kind -> traits, e.g. ``"v1beta1 v1beta2* cluster nostatus"``; see `crds.build_definition`. Those of
    the facts, unless there are none."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Kind -> column of ``kubectl get`` -> JSONPath, for the kinds that people look at."""


class Follow(_Strict):
    """Which values an object follows; all else of it is as in the facts."""

    at: str | None = None
    """Path of the values subtree that holds this object's replicas, nodeSelector, tolerations, resources, type, ...;
    ``.`` for the top."""
    when: tuple[str, ...] = ()
    """All must hold: ``path`` (truthy), ``!path`` (falsy) or ``path=text``."""
    resources: str | None = None
    """Path of the requests and limits, if it is not ``resources`` below `at`."""
    container: str | None = None
    """The container that takes them, and what it `runs`, if it is not the first."""
    tolerations: tuple[Object, ...] = ()
    """Tolerations that the chart itself adds to those of the values."""
    runs: Object = Field(default_factory=dict)
    """Further fields of the container, for one whose program really runs: command, args, env, volumeMounts. A text may
    hold template expressions; one that is nothing but an expression gives JSON."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the pod, e.g. a checksum of the configuration with which it starts."""


class CatalogEntry(_Strict):
    """One stand-in chart."""

    name: str
    version: str
    app_version: str
    description: str
    crds: Crds | None = None
    values: Values = Field(default_factory=dict)
    """Upstream's defaults of those values that this stand-in honours."""
    objects: tuple[Object, ...] = ()
    """What the chart makes: the objects of its facts, unless there are none."""
    follows: dict[str, Follow] = Field(default_factory=dict)
    """``Kind/name`` of objects, with ``*`` for any text -> the values that they follow; the first that fits counts."""
    templated: tuple[str, ...] = ()
    """``Kind/name`` of the facts' objects that a template of this entry makes."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """``Kind/name`` of the facts' objects that this stand-in does not make -> why."""
    templates: dict[str, str] = Field(default_factory=dict)
    """File name -> Helm template text, for what the values shape as a whole."""

    @model_validator(mode="after")
    def _paths_exist(self) -> Self:
        """Refuses a path that the entry's own values do not hold: it would be nil at render time."""
        for pattern, follow in self.follows.items():
            paths = [condition.removeprefix("!").split("=")[0] for condition in follow.when]
            for path in (*paths, *(path for path in (follow.at, follow.resources) if path)):
                if not has_path(self.values, path):
                    raise ValueError(
                        f"{pattern}: values have no '{path}'; add it under values: with upstream's default"
                    )
        return self

    @model_validator(mode="after")
    def _objects_are_accounted_for(self) -> Self:
        """Refuses a pattern that names nothing, and an object that nothing makes."""
        for pattern in (*self.follows, *self.templated, *self.left_out):
            if not any(matches(item, pattern) for item in self.objects):
                raise ValueError(f"{pattern}: the chart has no such object")
        for item in self.objects:
            kind = item["kind"]
            if kind not in {*GENERATED, *NOT_CARRIED} and not matches(item, *self.templated, *self.left_out):
                raise ValueError(f"{kind}/{item['metadata']['name']}: write a template, and name it under templated:")
        return self

    def generated(self) -> list[Object]:
        """The objects that are made from the facts."""
        apart = (*self.templated, *self.left_out)
        return [item for item in self.objects if item["kind"] in GENERATED and not matches(item, *apart)]

    def follow(self, item: Object) -> Follow:
        """What an object follows."""
        return next((follow for pattern, follow in self.follows.items() if matches(item, pattern)), Follow())


def has_path(values: Values, path: str) -> bool:
    """Tells whether a dotted path exists in a tree of values."""
    node: Any = values
    for key in path.split(".") if path != "." else ():
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def get_subtree(values: Values, path: str | None) -> Values:
    """Returns the mapping at a dotted path (``.`` is the top), or an empty one."""
    node: Any = values if path else {}
    for key in path.split(".") if path and path != "." else ():
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def read_entry(path: Path) -> CatalogEntry:
    """Reads one entry, with the facts of its chart.

    Raises:
        CatalogError: The file does not describe a chart; names file and field.
    """
    fields = yaml.safe_load(path.read_text())
    if facts := load_facts().get(path.stem):
        fields = {"version": facts.version, "app_version": facts.app_version, "objects": facts.objects} | fields
        if facts.definitions:
            fields["crds"] = {"kinds": facts.definitions} | fields.get("crds", {})
    try:
        entry = CatalogEntry.model_validate(fields)
    except ValueError as error:
        raise CatalogError(f"{path.name}: {error}") from error
    if entry.name != path.stem:
        raise CatalogError(f"{path.name}: name is '{entry.name}'; an entry's file is named after its chart")
    return entry


@functools.cache
def load_catalog() -> tuple[CatalogEntry, ...]:
    """Every stand-in, in the order of their names."""
    return tuple(read_entry(path) for path in sorted(CATALOG.glob("*.yaml")))
