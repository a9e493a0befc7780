"""Each stand-in chart makes of Lyceum's own values what the real chart makes of them, as far as the facts go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.versions import CHARTS
from lab.charts.archive import ChartArchive, build_stand_ins
from lab.charts.facts import Object, identify, load_facts
from lab.charts.stand_in import CatalogEntry, load_catalog
from tests.contracts.refresh import releases, render
from tests.contracts.shapes import compare_shapes, find_definitions, find_shape
from tests.support.helm import Helm

pytestmark = pytest.mark.engine

ENTRIES = {entry.name: entry for entry in load_catalog()}
every = pytest.mark.parametrize("chart", load_facts())


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    with Helm() as started:
        yield started


@pytest.fixture
def made(helm: Helm, tmp_path: Path) -> "Rendered":
    return Rendered(helm, tmp_path)


class Rendered:
    """What stand-ins make of the values with which their facts were taken."""

    def __init__(self, helm: Helm, directory: Path) -> None:
        self._helm = helm
        self._directory = directory

    def of(self, entry: CatalogEntry) -> list[Object]:
        (archive,) = build_stand_ins([entry])
        return render(self._helm, self._write(archive), entry.name, load_facts()[entry.name].site)

    def _write(self, archive: ChartArchive) -> Path:
        path = self._directory / archive.file
        path.write_bytes(archive.data)
        return path


def compare(entry: CatalogEntry, objects: list[Object]) -> list[str]:
    """Where what a stand-in made differs from its facts."""
    facts = load_facts()[entry.name]
    namespace = releases(facts.site)[entry.name].inputs["namespace"]
    return compare_shapes(entry, facts.objects, find_shape(objects, namespace))


@every
def test_a_stand_in_makes_what_its_real_chart_makes(chart: str, made: Rendered) -> None:
    assert compare(ENTRIES[chart], made.of(ENTRIES[chart])) == []


@every
def test_a_stand_in_defines_what_its_real_chart_defines(chart: str, made: Rendered) -> None:
    assert find_definitions(made.of(ENTRIES[chart])) == load_facts()[chart].definitions


@pytest.mark.parametrize(
    ("chart", "name", "change", "difference"),
    [
        ("metallb", "DaemonSet/metallb-speaker", ("hostNetwork", False), "hostNetwork: the real chart has True"),
        ("kueue", "Deployment/kueue-controller-manager", ("containers", []), "containers: the real chart has [{"),
        ("cert-manager", "Job/cert-manager-startupapicheck", ("volumes", [{"name": "host", "hostPath": {"path": "/"}}]), "volumes: the real chart has None"),
    ],
)  # fmt: skip
def test_another_field_would_be_noticed_by_workload_and_field(
    chart: str, name: str, change: tuple[str, Any], difference: str, made: Rendered
) -> None:
    objects = made.of(ENTRIES[chart])
    changed = next(item for item in objects if identify(item) == name)
    changed["spec"]["template"]["spec"][change[0]] = change[1]

    found = compare(ENTRIES[chart], objects)

    assert [line for line in found if line.startswith(name) and difference in line], found
    assert all(line.startswith(name) for line in found), "and nothing else"


def test_every_chart_that_lyceum_installs_has_facts_of_its_version() -> None:
    known = {name: facts.version for name, facts in load_facts().items()}

    assert known == {name: pin.version for name, pin in CHARTS.items()}, "refresh them: docs/charts.md"


def test_every_fact_says_where_it_is_from() -> None:
    for facts in load_facts().values():
        assert facts.source, facts.chart
        assert not any("which repository" in line for line in facts.source), facts.chart
