"""How a round of package upgrades is shown, and how its end is told to whoever runs it from a script."""

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


def test_a_line_names_the_first_packages_and_counts_the_rest() -> None:
    assert node_row(GPU, pending("a", "b", "libc6", "d"), marked=False) == [
        "gpu-1", "4: a, b, libc6 …", "1", "if asked", "1 pods, 2 GPUs",
    ]  # fmt: skip


def test_a_line_says_that_a_turn_has_begun_and_why_a_reboot_is_due() -> None:
    found = node_row(SERVER, NodePackages(reboot=("libc6",)), marked=True)

    assert found == ["server-1 (server), begun", "-", "-", "for libc6", ""]
    assert node_row(SERVER, pending("linux-image-amd64"), marked=False)[3] == "yes"


@pytest.mark.parametrize(
    ("done", "code", "words"),
    [
        (
            UpgradeRun(lambda: False, stuck=["gpu-1: broken"], not_started=["gpu-2"]),
            1,
            "gpu-1: broken\nnot begun: gpu-2",
        ),
        (
            UpgradeRun(lambda: True, not_started=["gpu-2"]),
            1,
            "paused before gpu-2; ./lyceum upgrade apply dev --os goes on",
        ),
        (UpgradeRun(lambda: False, skipped=["gpu-1 works on"]), 3, r"1 node\(s\) were left as they were"),
    ],
)
def test_an_end_that_is_not_all_well_has_an_exit_code_and_says_what_next(
    done: UpgradeRun, code: int, words: str
) -> None:
    with pytest.raises(LyceumError, match=words) as ended:
        _report_run("dev", done)

    assert ended.value.exit_code == code


def test_an_end_that_is_well_says_nothing() -> None:
    _report_run("dev", UpgradeRun(lambda: False))
