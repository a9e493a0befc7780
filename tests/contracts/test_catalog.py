"""The lab's stand-in charts agree with the upstream charts that they stand for."""

import re
from typing import Any

import pytest
import yaml

from lab.charts.crds import build_definitions as stand_in_definitions
from lab.charts.stand_in import CatalogEntry, load_catalog
from tests.contracts.charts import check_values
from tests.contracts.upstream import (
    FOLDER,
    WITHOUT_VALUES,
    chart_file,
    default_values,
    definitions,
    folder,
    needs_upstream,
)

VERSIONS = FOLDER.parent / "reference" / "layers.md"
"""The table of versions that this campus is built from."""

FROM_TAGS = {"cert-manager", "rook-ceph", "rook-ceph-cluster", "ceph-csi-drivers", "gpu-operator", "jupyterhub"}
"""Charts whose Chart.yaml in git gets its version only when upstream packs them."""

CRD_FOLDERS = {
    "metallb": "metallb",
    "cert-manager": "cert-manager",
    "rook-ceph": "rook-ceph",
    "gpu-operator": "gpu-operator",
    "kueue": "kueue",
    "kubeflow-trainer": "kubeflow-trainer",
    "kserve-crd": "kserve",
    "prometheus-operator-crds": "kube-prometheus-stack",
}
"""Chart -> folder with its definitions."""

each = pytest.mark.parametrize("entry", load_catalog(), ids=lambda entry: entry.name)


def stand_ins(entry: CatalogEntry) -> dict[tuple[str, str], dict[str, Any]]:
    """Group and kind -> spec of the stand-in's definition."""
    found = [item["spec"] for item in stand_in_definitions(entry.crds)] if entry.crds else []
    return {(spec["group"], spec["names"]["kind"]): spec for spec in found}


@needs_upstream
@each
def test_a_stand_ins_definitions_are_upstreams_in_name_version_and_scope(entry: CatalogEntry) -> None:
    for identity, spec in stand_ins(entry).items():
        upstream = definitions().get(identity)
        if upstream is None:
            continue  # not among the files; the next test says for which charts they all are
        versions = tuple((item["name"], item["served"], item["storage"]) for item in spec["versions"])
        status = all("status" in item.get("subresources", {}) for item in spec["versions"])
        assert (spec["names"]["plural"], spec["scope"], versions, status) == (
            upstream.plural,
            upstream.scope,
            upstream.versions,
            upstream.status,
        ), f"{identity} differs from upstream"


@needs_upstream
@pytest.mark.parametrize(("chart", "name"), CRD_FOLDERS.items())
def test_a_stand_in_brings_every_kind_of_its_chart(chart: str, name: str) -> None:
    entry = next(entry for entry in load_catalog() if entry.name == chart)
    texts = [path.read_text() for path in (FOLDER / name / "crds").glob("*.yaml")]
    kinds = {kind for text in texts for kind in re.findall(r"^    kind: (\S+)$", text, re.MULTILINE)}
    assert kinds <= {kind for _, kind in stand_ins(entry)}, (
        "a resource of a missing kind could not be created in the lab"
    )


@needs_upstream
@each
def test_the_values_that_a_stand_in_honours_are_upstreams(entry: CatalogEntry) -> None:
    if entry.name in WITHOUT_VALUES:
        assert entry.values == {}
        return
    assert check_values(entry.name, entry.values) == []


@needs_upstream
@each
def test_a_stand_ins_switches_are_set_as_upstream_sets_them(entry: CatalogEntry) -> None:
    """A switch with another default would make the lab install what the campus does not, or the other way round."""
    differing = []

    def compare(ours: Any, theirs: Any, path: str) -> None:
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in ours.keys() & theirs.keys():
                compare(ours[key], theirs[key], f"{path}.{key}")
        elif isinstance(theirs, bool | int) and ours != theirs:
            differing.append(f"{path[1:]}: {ours!r}, upstream {theirs!r}")

    compare(entry.values, default_values(entry.name), "")
    assert differing == []


@needs_upstream
@each
def test_a_stand_in_has_the_version_of_the_table(entry: CatalogEntry) -> None:
    if entry.name == "kserve-resources" or entry.name.startswith("kserve-"):
        table = "v0.20.0"
    else:
        table = VERSIONS.read_text().split("### Versions table")[1].split("\n## ")[0]
    assert re.search(rf"(?<![\w.]){re.escape(entry.version)}(?![\w.])", table), f"{entry.version} is not in the table"
    if entry.name not in FROM_TAGS and (folder(entry.name) / "Chart.yaml").exists():
        assert chart_file(entry.name)["version"] == entry.version


def test_every_chart_that_lyceum_installs_has_a_stand_in() -> None:
    from config import versions  # noqa: PLC0415 - only this test asks the program

    known = {entry.name: entry.version for entry in load_catalog()}
    assert {name: chart.version for name, chart in versions.CHARTS.items() if known.get(name) != chart.version} == {}


def test_the_catalogue_reads_as_yaml_without_surprises() -> None:
    for entry in load_catalog():
        assert yaml.safe_load(yaml.safe_dump(entry.values)) == entry.values
