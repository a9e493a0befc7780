"""Changes of charts: their order, and what is refused before any call (fault matrix U2, D1)."""

import pytest

from config.resource_names import RELEASE_TYPE
from config.site import Site
from ops.engine.pulumi_state import State
from ops.upgrade.charts import ChartChange, find_blockers, find_changes, find_warnings
from tests.ops.objects import ceph
from tests.support.sites import site


def state(**versions: str) -> State:
    resources = [
        {
            "type": RELEASE_TYPE,
            "urn": f"urn:pulumi:dev::lyceum::x::{name.replace('_', '-')}",
            "inputs": {"version": version},
        }
        for name, version in versions.items()
    ]
    return State({"deployment": {"resources": [{"type": "other", "urn": "urn::other"}, *resources]}})


def site_with_versions(**versions: str) -> Site:
    return site({"versions": {name.replace("_", "-"): version for name, version in versions.items()}})


def blockers(change: ChartChange, campus: Site | None = None, *, health: str = "HEALTH_OK") -> str:
    return "\n".join(find_blockers((change,), campus or site(), ceph(health)))


def test_an_installed_pinned_version_is_no_change() -> None:
    assert find_changes(state(metallb=site().chart("metallb").version), site()) == ()


def test_a_release_without_a_pin_is_no_change() -> None:
    assert find_changes(state(something_old="1.0.0"), site()) == ()


def test_changes_come_in_the_order_of_the_graph() -> None:
    changes = find_changes(state(rook_ceph="v1.20.5", kueue="0.19.1"), site())

    assert [(change.chart, change.installed) for change in changes] == [("rook-ceph", "v1.20.5"), ("kueue", "0.19.1")]
    assert changes[0].pinned == "v1.20.6"


def test_a_version_in_the_site_overrides_the_pin() -> None:
    (changes,) = find_changes(state(metallb="0.16.1"), site_with_versions(metallb="0.16.2"))

    assert changes == ChartChange("metallb", "0.16.1", "0.16.2")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ChartChange("rook-ceph", "v1.18.2", "v1.20.6"),
            "rook-ceph v1.18.2 -> v1.20.6 skips a minor release: upgrade Rook to 1.19 first",
        ),
        (ChartChange("cert-manager", "v1.19.0", "v1.21.1"), "upgrade cert-manager to 1.20 first"),
        (
            ChartChange("rook-ceph", "v1.20.6", "v1.20.5"),
            "is a downgrade: an older Rook cannot read what the newer one has written",
        ),
        (ChartChange("rook-ceph", "v1.19.9", "v1.20.6"), ""),
        (ChartChange("metallb", "0.14.0", "0.16.1"), ""),
    ],
)
def test_a_change_that_a_project_does_not_support_is_refused(change: ChartChange, expected: str) -> None:
    assert expected in blockers(change) if expected else blockers(change) == ""


def test_ceph_must_be_healthy_before_its_charts_change() -> None:
    change = ChartChange("ceph-csi-drivers", "1.0.3", "1.0.4")

    assert "Ceph is HEALTH_WARN" in blockers(change, health="HEALTH_WARN")
    assert list(find_blockers((ChartChange("kueue", "0.19.1", "0.19.2"),), site(), ceph("HEALTH_WARN"))) == []


def test_operator_and_cluster_of_rook_change_together() -> None:
    change = ChartChange("rook-ceph", "v1.20.5", "v1.20.6")

    assert "rook-ceph v1.20.6, rook-ceph-cluster v1.20.5: set both" in blockers(
        change, site_with_versions(rook_ceph_cluster="v1.20.5")
    )


def test_crds_that_helm_does_not_upgrade_are_reported() -> None:
    (warning,) = find_warnings((ChartChange("kubeflow-trainer", "2.2.0", "2.3.0"),))

    assert "Helm never upgrades the CRDs of JobSet" in warning


def test_a_downgrade_is_reported() -> None:
    assert "kueue is downgraded to 0.19.1" in "\n".join(find_warnings((ChartChange("kueue", "0.19.2", "0.19.1"),)))
