"""Everything that the program sets in a chart or a custom resource, held against upstream's files."""

import re
from typing import Any

import pytest

from config import versions
from config.site import STAGES
from tests.contracts.charts import check_custom_resource, check_values
from tests.contracts.upstream import FOLDER, WITHOUT_VALUES, default_values, needs_upstream
from tests.support.program import ALL_SITES, program

pytestmark = needs_upstream

RELEASE = "kubernetes:helm.sh/v3:Release"
NATIVE = re.compile(r"v1|(apps|batch|policy|helm\.sh|[a-z.]*(?<!kueue\.x-)(?<!jobset\.x-)k8s\.io)/.*")
"""apiVersions that need no definition."""

LAST = list(STAGES)[-1]
every = pytest.mark.parametrize("site", ALL_SITES)
"""Every site at its last stage, which holds all that the earlier ones hold."""


def custom_resources(site: str) -> list[dict[str, Any]]:
    """Whole resources of kinds that have a definition; patches of existing ones hold no spec."""
    found = [one.inputs for one in program(site, LAST).by_urn.values() if one.type.startswith("kubernetes:")]
    return [item for item in found if "spec" in item and not NATIVE.fullmatch(item["apiVersion"])]


@every
def test_every_value_of_every_release_is_one_that_its_chart_knows(site: str) -> None:
    problems = {
        one.name: found
        for one in program(site, LAST).of_type(RELEASE)
        if (found := check_values(one.name, one.inputs.get("values") or {}))
    }
    assert problems == {}, "Helm takes unknown values without a word, and nothing happens"


@every
def test_every_custom_resource_satisfies_its_definition(site: str) -> None:
    problems = {
        f"{item['kind']} {item['metadata']['name']}": found
        for item in custom_resources(site)
        if (found := check_custom_resource(item))
    }
    assert problems == {}


def test_there_is_something_to_check() -> None:
    kinds = {item["kind"] for item in custom_resources("lab")}
    assert {"IPAddressPool", "L2Advertisement", "ClusterIssuer", "ClusterQueue"} <= kinds
    assert {one.name for one in program("lab", LAST).of_type(RELEASE)} >= {"metallb", "jupyterhub"}


def test_pinned_versions_are_those_of_the_files() -> None:
    """A check against the files of another version would prove nothing."""
    sources = (FOLDER / "SOURCES.md").read_text()
    pins = {name: pin.version.removeprefix("v") for name, pin in versions.CHARTS.items() if name not in WITHOUT_VALUES}
    assert {name: version for name, version in pins.items() if version not in sources} == {}


def test_the_driver_that_the_pinned_operator_brings_is_the_one_that_we_name() -> None:
    assert default_values("gpu-operator")["driver"]["version"] == versions.DRIVER
