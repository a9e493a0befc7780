"""Upstream's own files: default values, value schemas and custom resource definitions of the charts in use.

They lie beside the project, in `../shared/charts`, and are never copied into it.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

Object = dict[str, Any]

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT.parent / "shared" / "charts"

MISSING = f"{FOLDER} IS MISSING: no value and no custom resource is held against upstream in this run"
needs_upstream = pytest.mark.skipif(not FOLDER.is_dir(), reason=MISSING)
"""Marks tests that read upstream's files."""

PLACES = {
    "ceph-csi-drivers": "ceph-csi-drivers/upstream",
    "kserve-resources": "kserve",
    "kserve-crd": "kserve/kserve-crd",
    "kserve-runtime-configs": "kserve/kserve-runtime-configs",
}
"""Chart -> folder, where they differ."""

WITHOUT_VALUES = {
    "kserve-crd": "the chart has no values",
    "prometheus-operator-crds": "its values are not among the files",
    "kubeflow-pipelines": "upstream publishes no chart; the campus mirror packs one",
}
"""Charts for which nothing may be set, and why."""


class Loader(yaml.CSafeLoader):
    """Reads a bare `=`, which stands in the Alertmanager definitions and which YAML 1.1 gives a tag of its own."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


def folder(chart: str) -> Path:
    """Where a chart's files are."""
    return FOLDER / PLACES.get(chart, chart)


@functools.cache
def default_values(chart: str) -> Object:
    """The chart's values.yaml; empty for `WITHOUT_VALUES`."""
    if chart in WITHOUT_VALUES:
        return {}
    return yaml.load((folder(chart) / "values.yaml").read_text(), Loader) or {}


@functools.cache
def values_text(chart: str) -> str:
    """The chart's values.yaml with its comments."""
    return (folder(chart) / "values.yaml").read_text()


@functools.cache
def values_schema(chart: str) -> Object | None:
    """The chart's JSON Schema of values, if it brings one."""
    for name in ("values.schema.json", "values.schema.yaml"):
        if (folder(chart) / name).exists():
            schema: Object = yaml.load((folder(chart) / name).read_text(), Loader)
            return schema
    return None


@functools.cache
def chart_file(chart: str) -> Object:
    """The chart's Chart.yaml."""
    found: Object = yaml.load((folder(chart) / "Chart.yaml").read_text(), Loader)
    return found


@dataclass(frozen=True)
class Definition:
    """A custom resource definition, as a row of facts."""

    group: str
    kind: str
    plural: str
    scope: str
    versions: tuple[tuple[str, bool, bool], ...]
    """Name, served, storage."""
    status: bool
    """Whether every version has the status subresource."""


@functools.cache
def definitions() -> dict[tuple[str, str], Definition]:
    """Group and kind -> facts, of every definition in the folder."""
    found = {}
    for path in sorted(FOLDER.glob("**/crds/*.yaml")):
        for text in _documents(path):
            if re.search(r"^kind: CustomResourceDefinition$", text, re.MULTILINE):
                # Without the schemas, which are a hundred times as long as all the rest.
                head = re.sub(r"^( +)schema:\n(?:(?:\1 .*)?\n)*", "", text, flags=re.MULTILINE)
                definition = _facts(yaml.load(head, Loader)["spec"])
                found[definition.group, definition.kind] = definition
    return found


@functools.cache
def resource_schema(api_version: str, kind: str) -> Object | None:
    """The openAPIV3Schema of a custom resource at a served version; None when upstream's files have none."""
    group, _, version = api_version.rpartition("/")
    for path in sorted(FOLDER.glob("**/crds/*.yaml")):
        for text in _documents(path):
            if f"kind: {kind}\n" not in text or not re.search(rf"^  group: {re.escape(group)}$", text, re.MULTILINE):
                continue
            spec = yaml.load(text, Loader)["spec"]
            if spec["names"]["kind"] == kind:
                served = (item for item in spec["versions"] if item["name"] == version and item["served"])
                return next((item["schema"]["openAPIV3Schema"] for item in served), None)
    return None


@functools.cache
def _documents(path: Path) -> list[str]:
    return re.split(r"^---$", path.read_text(), flags=re.MULTILINE)


def _facts(spec: Object) -> Definition:
    return Definition(
        group=spec["group"],
        kind=spec["names"]["kind"],
        plural=spec["names"]["plural"],
        scope=spec["scope"],
        versions=tuple((item["name"], item["served"], item["storage"]) for item in spec["versions"]),
        status=all("status" in (item.get("subresources") or {}) for item in spec["versions"]),
    )
