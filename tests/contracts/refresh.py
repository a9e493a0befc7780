"""Writes `lab/charts/facts` from real chart archives (docs/charts.md).

    .venv/bin/python -m tests.contracts.refresh --charts DIR

DIR holds an archive (`*.tgz`, from `helm pull`) of each chart to be refreshed; facts of the others stay.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from config.layers import LAYERS
from config.site import STAGES
from lab.charts.archive import read_archive
from lab.charts.facts import FACTS, ChartFacts, Object, get_pod, identify, load_facts
from tests.contracts.shapes import find_definitions, find_shape
from tests.support.admission import PodSecurity, pod_security
from tests.support.helm import Helm
from tests.support.layers import RELEASE
from tests.support.mocks import Registered
from tests.support.program import ALL_SITES, program

LAST = list(STAGES)[-1]
FIRST_SITES = ("lab",)
"""Sites whose values are taken for the facts where they install the chart; then the others in their order."""
WIDTH = 120


def releases(site: str) -> dict[str, Registered]:
    """Chart -> its release at a site's last stage, in the order of the layers."""
    found = {one.inputs["name"]: one for one in program(site, LAST).of_type(RELEASE)}
    order = [release.chart for record in LAYERS for release in record.releases]
    return {chart: found[chart] for chart in order if chart in found}


def site_of(chart: str) -> str:
    """The site whose values a chart's facts are made of.

    Raises:
        LookupError: no site installs it.
    """
    for site in dict.fromkeys((*FIRST_SITES, *ALL_SITES)):
        if chart in releases(site):
            return site
    raise LookupError(f"no site of config/sites installs the chart {chart}")


def served_apis(definitions: Iterable[dict[str, dict[str, str]]]) -> list[str]:
    """Group and version, and with the kind, of definitions, as Helm knows what a cluster serves."""
    return sorted(
        name
        for one in definitions
        for group, kinds in one.items()
        for kind, traits in kinds.items()
        for version in traits.split()
        if version[0] == "v" and version[1:2].isdigit()
        for name in (f"{group}/{version.rstrip('*')}", f"{group}/{version.rstrip('*')}/{kind}")
    )


def render(helm: Helm, archive: Path, chart: str, site: str) -> list[Object]:
    """What a chart makes of a site's values; the cluster serves the kinds of every chart that has facts."""
    release = releases(site)[chart].inputs
    apis = served_apis(facts.definitions for facts in load_facts().values() if facts.chart != chart)
    return helm.render(archive, chart, release["namespace"], release.get("values") or {}, apis)


def find_facts(archive: Path, helm: Helm, security: PodSecurity) -> ChartFacts:
    """The facts of one archive."""
    description = read_archive(archive).chart
    chart, version = str(description["name"]), str(description["version"])
    site = site_of(chart)
    objects = render(helm, archive, chart, site)
    known = load_facts().get(chart)
    shape = find_shape(objects, releases(site)[chart].inputs["namespace"])
    return ChartFacts(
        chart=chart,
        version=version,
        app_version=str(description.get("appVersion", version)),
        source=known.source if known and known.version == version else (f"{archive.name}: which repository and tag?",),
        site=site,
        levels={identify(item): security.strictest(pod) for item in shape if (pod := get_pod(item))},
        definitions=find_definitions(objects),
        objects=tuple(shape),
    )


def dump(facts: ChartFacts) -> str:
    """A file's text: one line for each innermost mapping or list."""
    fields = {key: value for key, value in facts.model_dump(mode="json").items() if value}
    return yaml.dump(fields, Dumper=_Plain, sort_keys=False, width=WIDTH, default_flow_style=None, allow_unicode=True)


class _Plain(yaml.CSafeDumper):
    """Repeats what is the same, instead of naming it once."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def refresh(directory: Path) -> Iterator[str]:
    """Writes the facts of each archive in a directory; yields the name of each chart that changed."""
    with tempfile.TemporaryDirectory() as work, pod_security(Path(work)) as security, Helm() as helm:
        for archive in sorted(directory.glob("*.tgz")):
            facts = find_facts(archive, helm, security)
            path = FACTS / f"{facts.chart}.yaml"
            text = dump(facts)
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
                yield facts.chart


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--charts", type=Path, required=True, metavar="DIR", help="directory of real chart archives")
    for name in refresh(parser.parse_args().charts):
        print(f"changed: {name}")  # noqa: T201 - a command
