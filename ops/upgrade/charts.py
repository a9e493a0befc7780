"""Charts whose pinned version differs from the installed one: their order, and what blocks the change. Pure.

`./lyceum up` applies the changes in the order of the graph; which Kubernetes each layer supports is a rule of the site.
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
"""Rook's operator and its cluster chart are released together (Rook, upgrade guide)."""
MINOR_BY_MINOR = {"rook-ceph": "Rook", "rook-ceph-cluster": "Rook", "cert-manager": "cert-manager"}
"""Charts that must not skip a minor release, by their projects' upgrade guides."""
CRDS_NOT_UPGRADED = {"kubeflow-trainer": "JobSet"}
"""Charts with CRDs in `crds/`, which Helm installs once and never upgrades, and that have no hook that does."""


@dataclass(frozen=True)
class ChartChange:
    """A chart that `up` would bring to another version.

    Attributes:
        chart: Its name.
        installed: The installed version.
        pinned: The pinned version.
    """

    chart: str
    installed: str
    pinned: str

    @property
    def is_downgrade(self) -> bool:
        """Whether the pinned version is older."""
        return version_numbers(self.pinned) < version_numbers(self.installed)


def version_numbers(version: str) -> tuple[int, ...]:
    """`v1.20.6` -> (1, 20, 6); what follows a dash or a plus is ignored."""
    return tuple(int(part) for part in re.split(r"[-+]", version.removeprefix("v"))[0].split("."))


def find_changes(state: State, site: Site) -> tuple[ChartChange, ...]:
    """Releases in the stack's state whose version differs from the pin, in the order in which the graph created them."""
    changes = []
    for release in state.releases:
        name, installed = release.name, str(release.inputs.get("version", ""))
        if installed and name in CHARTS and (pinned := site.chart(name).version) != installed:
            changes.append(ChartChange(name, installed, pinned))
    return tuple(changes)


def find_blockers(changes: tuple[ChartChange, ...], site: Site, ceph: Object | None) -> Iterator[str]:
    """Why `up` must not apply the changes.

    Args:
        changes: The changes.
        site: The site, for the pinned versions.
        ceph: The CephCluster, or None.
    """
    for change in changes:
        step = f"{change.chart} {change.installed} -> {change.pinned}"
        if change.chart in MINOR_BY_MINOR and (minor := _skipped_minor(change)):
            yield f"{step} skips a minor release: upgrade {MINOR_BY_MINOR[change.chart]} to {minor} first"
        if change.chart in CEPH_CHARTS and change.is_downgrade:
            yield f"{step} is a downgrade: an older Rook cannot read what the newer one has written"
    if any(change.chart in CEPH_CHARTS for change in changes):
        versions = {name: site.chart(name).version for name in SAME_VERSION}
        if len(set(versions.values())) > 1:
            different = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield f"{different}: set both to one version under `versions:`"
        health = (ceph or {}).get("status", {}).get("ceph", {}).get("health", "unknown")
        if ceph is not None and health != "HEALTH_OK":
            yield f"Ceph is {health}, and its charts would change: wait until Ceph has recovered"


def _skipped_minor(change: ChartChange) -> str:
    """The first minor release that a change skips; empty if it skips none."""
    installed, pinned = version_numbers(change.installed), version_numbers(change.pinned)
    skips = installed[0] == pinned[0] and pinned[1] - installed[1] > 1
    return f"{installed[0]}.{installed[1] + 1}" if skips else ""


def find_warnings(changes: tuple[ChartChange, ...]) -> Iterator[str]:
    """Warnings before the changes are applied."""
    for change in changes:
        if change.is_downgrade and change.chart not in CEPH_CHARTS:
            yield f"{change.chart} is downgraded to {change.pinned}: Helm allows it; its custom resources may not"
        if change.chart in CRDS_NOT_UPGRADED:
            yield (
                f"{change.chart}: Helm never upgrades the CRDs of {CRDS_NOT_UPGRADED[change.chart]} that it installs; apply those "
                f"of {change.pinned} first (kubectl apply --server-side --force-conflicts -f …/crds)"
            )
