"""Every pod of a layer is admitted at the Pod Security level of its namespace, asked of a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.layers import LAYERS
from lab.charts.archive import build_stand_ins
from lab.charts.facts import Object, get_pod, identify, load_facts
from tests.contracts.refresh import releases, render
from tests.support.admission import PodSecurity, pod_security
from tests.support.helm import Helm
from tests.support.program import ALL_SITES

pytestmark = pytest.mark.lab

LEVELS = {namespace.name: namespace.level.value for record in LAYERS for namespace in record.namespaces}
PLACES = {release.chart: LEVELS[release.namespace] for record in LAYERS for release in record.releases}
"""Chart -> level of its namespace."""


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodSecurity]:
    with pod_security(tmp_path_factory.mktemp("admission")) as started:
        yield started


def pods(objects: list[Object]) -> dict[str, Object]:
    """`Kind/name` of a workload -> its pod."""
    return {identify(item): pod for item in objects if (pod := get_pod(item))}


@pytest.mark.parametrize("chart", load_facts())
def test_every_pod_of_the_real_chart_is_admitted_where_it_is_installed(chart: str, security: PodSecurity) -> None:
    """Hooks included: a Job that is refused ends the release after its time limit, without a word why."""
    found = {
        name: security.refusal(pod, PLACES[chart]) for name, pod in pods(list(load_facts()[chart].objects)).items()
    }

    assert {name: why for name, why in found.items() if why} == {}


@pytest.mark.parametrize("site", ALL_SITES)
def test_every_pod_of_a_site_is_admitted(site: str, security: PodSecurity, tmp_path: Path) -> None:
    refused = {}
    with Helm() as helm:
        for archive in build_stand_ins():
            if archive.name in releases(site):
                path = tmp_path / archive.file
                path.write_bytes(archive.data)
                for name, pod in pods(render(helm, path, archive.name, site)).items():
                    if why := security.refusal(pod, PLACES[archive.name]):
                        refused[f"{archive.name} {name}"] = why

    assert refused == {}


@pytest.mark.parametrize("chart", load_facts())
def test_the_level_of_a_fact_is_the_strictest_that_admits_the_pod(chart: str, security: PodSecurity) -> None:
    facts = load_facts()[chart]

    assert {name: security.strictest(pod) for name, pod in pods(list(facts.objects)).items()} == facts.levels
