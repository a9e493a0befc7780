"""Facts of the real charts: what each makes of Lyceum's own values, read from ``facts/<chart>.yaml``.

`python -m tests.contracts.refresh --charts DIR` writes them from real archives (docs/charts.md). They are data in a form
of our own: Kubernetes objects, reduced to the fields that a scheduler, an admission controller or a monitor reads. No
template, program argument, file or rule of upstream's is among them.
"""

import functools
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from lab.pod_security import Level

FACTS = Path(__file__).parent / "facts"

Object = dict[str, Any]

WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob")
"""Kinds whose `spec.template` is a pod."""

NOT_CARRIED = {
    "ValidatingWebhookConfiguration": "its server is a pod that does not run; a call to it would fail",
    "MutatingWebhookConfiguration": "its server is a pod that does not run; a call to it would fail",
    "APIService": "its server is a pod that does not run; discovery would fail",
    "PrometheusRule": "the rules are upstream's text; only their names are facts",
    "NetworkPolicy": "nothing in the lab enforces it",
}
"""Kind of the facts -> why a stand-in does not install it."""

NOT_FACTS = {
    "command, args, env, volumeMounts, command of an exec probe": "the program's own; a simulated pod runs none",
    "annotations, except of hooks": "checksums and hints for programs that do not run",
    "digest of an image": "the lab's images have other bytes",
    "Role, ClusterRole and their bindings": "no stand-in's pod calls the API; its ServiceAccount exists",
    "ConfigMap, Secret": "upstream's text; volumes name them, and a simulated pod mounts none",
    "spec of a custom resource": "what the program sets is checked against the real definition by tests/contracts; "
    "`Driver` of csi.ceph.io is the exception, because its operator takes an empty list for an answer",
    "test hooks": "`helm test` is never run",
}
"""What a real chart has and the facts leave out, and why."""


class ChartFacts(BaseModel):
    """What one real chart makes of Lyceum's values at one site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chart: str
    version: str
    app_version: str
    source: tuple[str, ...]
    """Repository, tag and folder from which the archive was packed, and what was changed on the way."""
    site: str
    """Site of `config/sites` whose values were given, at its last stage."""
    levels: dict[str, Level] = Field(default_factory=dict)
    """`Kind/name` of a workload -> strictest Pod Security Standard at which a real API server admits its pod."""
    definitions: dict[str, dict[str, str]] = Field(default_factory=dict)
    """API group -> kind -> traits of its definition, see `lab.charts.crds.build_definition`."""
    objects: tuple[Object, ...] = ()
    """Everything else, reduced; objects without a namespace are in the release's, or in none."""

    def of_kind(self, *kinds: str) -> list[Object]:
        """The objects of some kinds."""
        return [item for item in self.objects if item["kind"] in kinds]


def identify(item: Object) -> str:
    """`Kind/name`, by which facts and catalogue name an object."""
    return f"{item['kind']}/{item['metadata']['name']}"


def matches(item: Object, *patterns: str) -> bool:
    """Whether one of the patterns (`ServiceMonitor/*`) names an object."""
    return any(fnmatch(identify(item), pattern) for pattern in patterns)


def get_pod(item: Object) -> Object | None:
    """The pod spec of a workload, or None for another kind."""
    if item["kind"] == "CronJob":
        item = item["spec"]["jobTemplate"]
    elif item["kind"] not in WORKLOADS:
        return None
    pod: Object = item["spec"]["template"]["spec"]
    return pod


def read_facts(path: Path) -> ChartFacts:
    """Reads one file."""
    return ChartFacts.model_validate(yaml.load(path.read_bytes(), yaml.CSafeLoader))


@functools.cache
def load_facts() -> dict[str, ChartFacts]:
    """Chart -> its facts."""
    found = (read_facts(path) for path in sorted(FACTS.glob("*.yaml")))
    return {facts.chart: facts for facts in found}
