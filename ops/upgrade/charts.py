"""Charts whose pin differs from what is installed: their order, and what speaks against it. Pure.

`./lyceum up` brings them, in the order of the graph; which Kubernetes each part supports is a rule of the site's file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from config.site import Site
from config.versions import CHARTS
from ops.clients.kubernetes import Object
from ops.engine.pulumi_state import State

CEPH_CHARTS = ("rook-ceph", "ceph-csi-drivers", "rook-ceph-cluster")
SAME_VERSION = ("rook-ceph", "rook-ceph-cluster")
"""The operator and what it runs are released together (Rook, upgrade guide)."""
MINOR_BY_MINOR = {"rook-ceph": "Rook", "rook-ceph-cluster": "Rook", "cert-manager": "cert-manager"}
"""Charts that are upgraded through every minor, by their projects' upgrade guides."""
CRDS_NOT_UPGRADED = {"kubeflow-trainer": "JobSet"}
"""Charts with definitions in `crds/`, which Helm installs once and never upgrades, and no hook that does (layers.md, 1)."""


@dataclass(frozen=True)
class ChartChange:
    """A chart that `up` would bring to another version.

    Attributes:
        chart: Its name.
        installed: What is installed.
        pinned: What the pins say.
    """

    chart: str
    installed: str
    pinned: str

    @property
    def is_downgrade(self) -> bool:
        """Whether it goes to an older version."""
        return version_numbers(self.pinned) < version_numbers(self.installed)


def version_numbers(version: str) -> tuple[int, ...]:
    """`v1.20.6` -> (1, 20, 6); what follows a dash or a plus does not count."""
    return tuple(int(part) for part in re.split(r"[-+]", version.removeprefix("v"))[0].split("."))


def find_changes(state: State, site: Site) -> tuple[ChartChange, ...]:
    """Releases in the stack's state whose version differs from the pin, in the order in which the graph made them."""
    found = []
    for release in state.releases:
        name, now = release.name, str(release.inputs.get("version", ""))
        if now and name in CHARTS and (wanted := site.chart(name).version) != now:
            found.append(ChartChange(name, now, wanted))
    return tuple(found)


def find_blockers(found: tuple[ChartChange, ...], site: Site, ceph: Object | None) -> Iterator[str]:
    """Why `up` must not bring them."""
    for one in found:
        if one.chart in MINOR_BY_MINOR and (minor := _skipped_minor(one)):
            yield f"{one.chart} {one.installed} -> {one.pinned} skips a minor: {MINOR_BY_MINOR[one.chart]} goes through {minor} first"
        if one.chart in CEPH_CHARTS and one.is_downgrade:
            yield f"{one.chart} {one.installed} -> {one.pinned} goes back: what Ceph has written, an older Rook cannot read"
    if any(one.chart in CEPH_CHARTS for one in found):
        versions = {name: site.chart(name).version for name in SAME_VERSION}
        if len(set(versions.values())) > 1:
            told = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield f"{told}: hold both at one version, under `versions:`"
        health = (ceph or {}).get("status", {}).get("ceph", {}).get("health", "unknown")
        if ceph is not None and health != "HEALTH_OK":
            yield f"Ceph is {health}, and its charts would change: let it finish its repair first"


def _skipped_minor(one: ChartChange) -> str:
    """The minor that comes first; empty where none is skipped."""
    now, wanted = version_numbers(one.installed), version_numbers(one.pinned)
    return f"{now[0]}.{now[1] + 1}" if now[0] == wanted[0] and wanted[1] - now[1] > 1 else ""


def find_warnings(found: tuple[ChartChange, ...]) -> Iterator[str]:
    """What is worth knowing before."""
    for one in found:
        if one.is_downgrade and one.chart not in CEPH_CHARTS:
            yield f"{one.chart} goes back to {one.pinned}: Helm allows it; its custom resources may not"
        if one.chart in CRDS_NOT_UPGRADED:
            yield (
                f"{one.chart}: Helm never upgrades the definitions of {CRDS_NOT_UPGRADED[one.chart]} that it brings; apply those of "
                f"{one.pinned} first (kubectl apply --server-side --force-conflicts -f …/crds)"
            )
