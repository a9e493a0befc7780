"""Each stand-in chart makes of Lyceum's own values what the real chart makes of them, as far as the facts go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.versions import CHARTS
from lab.charts.archive import ChartArchive, build_stand_ins
from lab.charts.facts import NOT_CARRIED, Object, identify, load_facts, matches
from lab.charts.stand_in import CatalogEntry, load_catalog
from tests.contracts.refresh import releases, render
from tests.contracts.shapes import find_definitions, find_shape
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


def find_differences(real: Any, ours: Any, path: str) -> Iterator[str]:
    """Each field that two pieces of data do not have alike."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for key in sorted({*real, *ours}):
            yield from find_differences(real.get(key), ours.get(key), f"{path}.{key}")
    elif isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        for index, pair in enumerate(zip(real, ours, strict=True)):
            yield from find_differences(*pair, f"{path}[{index}]")
    elif real != ours:
        yield f"{path}: the real chart has {real!r}, the stand-in {ours!r}"


def compare(entry: CatalogEntry, objects: list[Object]) -> list[str]:
    """Where a stand-in differs from its facts, by object and field."""
    facts = load_facts()[entry.name]
    namespace = releases(facts.site)[entry.name].inputs["namespace"]
    carried = [item for item in facts.objects if item["kind"] not in NOT_CARRIED]
    real = {identify(item): _comparable(entry, item) for item in carried if not matches(item, *entry.left_out)}
    ours = {identify(item): _comparable(entry, item) for item in find_shape(objects, namespace)}
    found = [f"{name}: only the real chart has it" for name in sorted(real.keys() - ours.keys())]
    found += [f"{name}: only the stand-in has it" for name in sorted(ours.keys() - real.keys() - IN_PLACE_OF_A_JOB)]
    for name in sorted(real.keys() & ours.keys()):
        found += find_differences(real[name], ours[name], name)
    return found


IN_PLACE_OF_A_JOB = {"ClusterTrainingRuntime/torch-distributed", "ClusterTrainingRuntime/deepspeed-distributed"}
"""What the real chart's hook Job would fetch and install, see the catalogue's `left_out` of kubeflow-trainer."""


def _comparable(entry: CatalogEntry, item: Object) -> Object:
    """Without the labels of an object that a template of the catalogue makes: nothing selects it by them."""
    if not matches(item, *entry.templated):
        return item
    return {**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "labels"}}


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
