"""Charts whose pin differs from what is installed: their order, and what speaks against it. Pure.

`./lyceum up` brings them, in the order of the graph; which Kubernetes each part supports is a rule of the site's file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from config.site import Site
from config.versions import CHARTS
from ops.clients.kubernetes import Object
from ops.engine.engine import State

RELEASE = "kubernetes:helm.sh/v3:Release"
CEPH = ("rook-ceph", "ceph-csi-drivers", "rook-ceph-cluster")
TOGETHER = ("rook-ceph", "rook-ceph-cluster")
"""The operator and what it runs are released together (Rook, upgrade guide)."""
ONE_MINOR = {"rook-ceph": "Rook", "rook-ceph-cluster": "Rook", "cert-manager": "cert-manager"}
"""Charts that are upgraded through every minor, by their projects' upgrade guides."""
OWN_CRDS = {"kubeflow-trainer": "JobSet"}
"""Charts with definitions in `crds/`, which Helm installs once and never upgrades, and no hook that does (layers.md, 1)."""


@dataclass(frozen=True)
class Change:
    """A chart that `up` would bring to another version.

    Attributes:
        chart: Its name.
        now: What is installed.
        wanted: What the pins say.
    """

    chart: str
    now: str
    wanted: str

    @property
    def back(self) -> bool:
        """Whether it goes to an older version."""
        return numbers(self.wanted) < numbers(self.now)


def numbers(version: str) -> tuple[int, ...]:
    """`v1.20.6` -> (1, 20, 6); what follows a dash or a plus does not count."""
    return tuple(int(part) for part in re.split(r"[-+]", version.removeprefix("v"))[0].split("."))


def changes(state: State, site: Site) -> tuple[Change, ...]:
    """Releases in the stack's state whose version differs from the pin, in the order in which the graph made them."""
    found = []
    for resource in state["deployment"].get("resources") or []:
        name = resource["urn"].rsplit("::", 1)[1]
        now = str((resource.get("inputs") or {}).get("version", ""))
        if resource["type"] == RELEASE and not resource.get("delete") and now and name in CHARTS:
            wanted = site.chart(name).version
            if wanted != now:
                found.append(Change(name, now, wanted))
    return tuple(found)


def reasons(found: tuple[Change, ...], site: Site, ceph: Object | None) -> Iterator[str]:
    """Why `up` must not bring them."""
    for one in found:
        if one.chart in ONE_MINOR and (minor := _skipped(one)):
            yield f"{one.chart} {one.now} -> {one.wanted} skips a minor: {ONE_MINOR[one.chart]} goes through {minor} first"
        if one.chart in CEPH and one.back:
            yield f"{one.chart} {one.now} -> {one.wanted} goes back: what Ceph has written, an older Rook cannot read"
    if any(one.chart in CEPH for one in found):
        versions = {name: site.chart(name).version for name in TOGETHER}
        if len(set(versions.values())) > 1:
            told = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield f"{told}: hold both at one version, under `versions:`"
        health = (ceph or {}).get("status", {}).get("ceph", {}).get("health", "unknown")
        if ceph is not None and health != "HEALTH_OK":
            yield f"Ceph is {health}, and its charts would change: let it finish its repair first"


def _skipped(one: Change) -> str:
    """The minor that comes first; empty where none is skipped."""
    now, wanted = numbers(one.now), numbers(one.wanted)
    return f"{now[0]}.{now[1] + 1}" if now[0] == wanted[0] and wanted[1] - now[1] > 1 else ""


def notes(found: tuple[Change, ...]) -> Iterator[str]:
    """What is worth knowing before."""
    for one in found:
        if one.back and one.chart not in CEPH:
            yield f"{one.chart} goes back to {one.wanted}: Helm allows it; its custom resources may not"
        if one.chart in OWN_CRDS:
            yield (
                f"{one.chart}: Helm never upgrades the definitions of {OWN_CRDS[one.chart]} that it brings; apply those of "
                f"{one.wanted} first (kubectl apply --server-side --force-conflicts -f …/crds)"
            )
