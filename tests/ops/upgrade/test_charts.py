"""Charts that would change: their order, and what is refused before any call (fault matrix U2, D1)."""

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


def holding(**versions: str) -> Site:
    return site({"versions": {name.replace("_", "-"): version for name, version in versions.items()}})


def told(change: ChartChange, campus: Site | None = None, *, health: str = "HEALTH_OK") -> str:
    return "\n".join(find_blockers((change,), campus or site(), ceph(health)))


def test_what_the_pins_say_and_is_installed_is_no_change() -> None:
    assert find_changes(state(metallb=site().chart("metallb").version), site()) == ()


def test_a_release_that_lyceum_no_longer_pins_is_no_change() -> None:
    assert find_changes(state(something_old="1.0.0"), site()) == ()


def test_changes_come_in_the_order_of_the_graph() -> None:
    found = find_changes(state(rook_ceph="v1.20.5", kueue="0.19.1"), site())

    assert [(one.chart, one.installed) for one in found] == [("rook-ceph", "v1.20.5"), ("kueue", "0.19.1")]
    assert found[0].pinned == "v1.20.6"


def test_a_version_that_the_site_holds_is_what_is_wanted() -> None:
    (found,) = find_changes(state(metallb="0.16.1"), holding(metallb="0.16.2"))

    assert found == ChartChange("metallb", "0.16.1", "0.16.2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ChartChange("rook-ceph", "v1.18.2", "v1.20.6"),
            "rook-ceph v1.18.2 -> v1.20.6 skips a minor: Rook goes through 1.19 first",
        ),
        (ChartChange("cert-manager", "v1.19.0", "v1.21.1"), "cert-manager goes through 1.20 first"),
        (ChartChange("rook-ceph", "v1.20.6", "v1.20.5"), "goes back: what Ceph has written, an older Rook cannot read"),
        (ChartChange("rook-ceph", "v1.19.9", "v1.20.6"), ""),
        (ChartChange("metallb", "0.14.0", "0.16.1"), ""),
    ],
)
def test_a_step_that_a_project_does_not_support_is_refused(change: ChartChange, words: str) -> None:
    assert words in told(change) if words else told(change) == ""


def test_ceph_must_be_well_before_its_charts_change() -> None:
    change = ChartChange("ceph-csi-drivers", "1.0.3", "1.0.4")

    assert "Ceph is HEALTH_WARN" in told(change, health="HEALTH_WARN")
    assert list(find_blockers((ChartChange("kueue", "0.19.1", "0.19.2"),), site(), ceph("HEALTH_WARN"))) == []


def test_operator_and_cluster_of_ceph_go_together() -> None:
    change = ChartChange("rook-ceph", "v1.20.5", "v1.20.6")

    assert "rook-ceph v1.20.6, rook-ceph-cluster v1.20.5: hold both" in told(
        change, holding(rook_ceph_cluster="v1.20.5")
    )


def test_definitions_that_helm_leaves_as_they_are_are_named() -> None:
    (note,) = find_warnings((ChartChange("kubeflow-trainer", "2.2.0", "2.3.0"),))

    assert "Helm never upgrades the definitions of JobSet" in note


def test_a_chart_that_goes_back_is_named() -> None:
    assert "kueue goes back to 0.19.1" in "\n".join(find_warnings((ChartChange("kueue", "0.19.2", "0.19.1"),)))
