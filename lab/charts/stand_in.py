"""A catalogue entry: what one stand-in chart is, read from ``catalog/<chart>.yaml``.

An entry states only facts that other layers and people can see from outside: the chart's name and version, its custom
resources, the names and kinds of its workloads, and the few values that decide their shape. ``docs/charts.md`` shows
how to write one.
"""

import functools
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lab.pod_security import Level

CATALOG = Path(__file__).parent / "catalog"

WorkloadKind = Literal["Deployment", "DaemonSet", "StatefulSet", "Job"]
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
    """Conditions (see `Workload.when`); only for ``place: templates``."""
    keep: bool = False
    """Whether they carry ``helm.sh/resource-policy: keep``, so that uninstalling leaves them."""
    kinds: dict[str, dict[str, str]]
    """API group -> kind -> traits, e.g. ``"v1beta1 v1beta2* cluster nostatus"``; see `crds.build_definition`."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Kind -> column of ``kubectl get`` -> JSONPath, for the kinds that people look at."""


class Workload(_Strict):
    """One pod-bearing object, named as upstream names it."""

    name: str
    """May hold ``{fullname}`` and ``{release}``."""
    kind: WorkloadKind = "Deployment"
    kind_from: str | None = None
    """Path of the value that says the kind (``controller.kind`` of ingress-nginx); wins over `kind`."""
    component: str
    """Label ``app.kubernetes.io/component``; together with name and instance it selects the pods."""
    at: str | None = None
    """Path of the values subtree that holds this workload's replicas, nodeSelector, tolerations, resources, ...;
    ``.`` for the top."""
    when: tuple[str, ...] = ()
    """All must hold: ``path`` (truthy), ``!path`` (falsy) or ``path=text``."""
    replicas: int | str = 1
    """A number, or the path of the value that holds it. ``replicas`` or ``replicaCount`` below `at` is found without it."""
    image: str
    security: Level = "restricted"
    """The strictest Pod Security Standard that upstream's pod meets."""
    hook: str | None = None
    """Helm hook phase of a Job, e.g. ``post-install``."""
    labels: dict[str, str] = Field(default_factory=dict)


class Service(_Strict):
    """One Service, named as upstream names it."""

    name: str
    component: str
    """Selects the workload of this component."""
    ports: dict[str, int]
    """Port name -> number."""
    at: str | None = None
    """Path of the values subtree that may hold type, annotations, loadBalancerIP, externalTrafficPolicy."""
    when: tuple[str, ...] = ()
    headless: bool = False


class CatalogEntry(_Strict):
    """One stand-in chart."""

    name: str
    version: str
    app_version: str
    description: str
    fullname_limit: int = 63
    """Characters to which upstream shortens ``{fullname}``."""
    crds: Crds | None = None
    values: Values = Field(default_factory=dict)
    """Upstream's defaults of those values that this stand-in honours."""
    workloads: tuple[Workload, ...] = ()
    services: tuple[Service, ...] = ()
    templates: dict[str, str] = Field(default_factory=dict)
    """File name -> Helm template text, for what the short forms cannot say."""

    @model_validator(mode="after")
    def _paths_exist(self) -> Self:
        """Refuses a path that the entry's own values do not hold: it would be nil at render time."""
        items: tuple[Workload | Service, ...] = (*self.workloads, *self.services)
        for item in items:
            paths = [condition.removeprefix("!").split("=")[0] for condition in item.when]
            paths += [item.at] if item.at else []
            if isinstance(item, Workload):
                paths += [item.kind_from] if item.kind_from else []
                paths += [item.replicas] if isinstance(item.replicas, str) else []
            for path in paths:
                if not has_path(self.values, path):
                    raise ValueError(
                        f"{item.name}: values have no '{path}'; add it under values: with upstream's default"
                    )
        return self


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
    """Reads one entry.

    Raises:
        CatalogError: The file does not describe a chart; names file and field.
    """
    try:
        entry = CatalogEntry.model_validate(yaml.safe_load(path.read_text()))
    except ValueError as error:
        raise CatalogError(f"{path.name}: {error}") from error
    if entry.name != path.stem:
        raise CatalogError(f"{path.name}: name is '{entry.name}'; an entry's file is named after its chart")
    return entry


@functools.cache
def load_catalog() -> tuple[CatalogEntry, ...]:
    """Every stand-in, in the order of their names."""
    return tuple(read_entry(path) for path in sorted(CATALOG.glob("*.yaml")))
