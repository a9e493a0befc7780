"""The table of an upgrade of packages, and how its end is reported by exit code and message."""

import pytest

from config.errors import LyceumError
from ops.upgrade.node_upgrade import UpgradeRun
from ops.upgrade.os_packages import NodePackages, PendingPackage
from ops.upgrade.os_upgrade import _report_run, node_row
from ops.upgrade.plan import ClusterNode, Version

GPU = ClusterNode("gpu-1", Version.parse("v1.36.4+k3s1"), server=False, healthy=True, gpus=2, workloads=1)
SERVER = ClusterNode("server-1", GPU.version, server=True, healthy=True)


def pending(*names: str) -> NodePackages:
    return NodePackages(tuple(PendingPackage(name, "1", "2", security=name == "libc6") for name in names))


def test_a_row_lists_the_first_packages_and_counts_the_rest() -> None:
    assert node_row(GPU, pending("a", "b", "libc6", "d"), marked=False) == [
        "gpu-1", "4: a, b, libc6 …", "1", "if required", "1 pod, 2 GPUs",
    ]  # fmt: skip


def test_a_row_shows_that_an_upgrade_has_started_and_why_a_reboot_is_due() -> None:
    row = node_row(SERVER, NodePackages(reboot=("libc6",)), marked=True)

    assert row == ["server-1 (server), started", "-", "-", "for libc6", ""]
    assert node_row(SERVER, pending("linux-image-amd64"), marked=False)[3] == "yes"


@pytest.mark.parametrize(
    ("upgrade_run", "code", "expected"),
    [
        (
            UpgradeRun(lambda: False, stuck=["gpu-1: broken"], not_started=["gpu-2"]),
            1,
            "gpu-1: broken\nnot started: gpu-2",
        ),
        (
            UpgradeRun(lambda: True, not_started=["gpu-2"]),
            1,
            "paused before gpu-2; ./lyceum upgrade apply dev --os continues",
        ),
        (UpgradeRun(lambda: False, skipped=["gpu-1 was left as it was"]), 3, r"1 node\(s\) were skipped"),
    ],
)
def test_an_unfinished_run_has_an_exit_code_and_the_next_command(
    upgrade_run: UpgradeRun, code: int, expected: str
) -> None:
    with pytest.raises(LyceumError, match=expected) as ended:
        _report_run("dev", upgrade_run)

    assert ended.value.exit_code == code


def test_a_finished_run_reports_nothing() -> None:
    _report_run("dev", UpgradeRun(lambda: False))
