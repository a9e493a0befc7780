"""The running drivers compared with the pin and the images, by node (gpu-operator#2509, aicr#1995)."""

import pytest

from config.versions import DRIVER
from ops.upgrade.drivers import (
    FAILED,
    STATE_LABEL,
    VERSION_LABEL,
    NodeDriver,
    describe_problems,
    find_warnings,
    read_drivers,
)
from tests.ops.objects import node, pod
from tests.support.sites import site

SITE = site()
PINNED = site({"platform": {"gpu-operator": {"driver": "580.95.05"}}})
HELD = site({"versions": {"gpu-operator": "v25.10.1"}})


def test_a_node_is_read_with_its_driver_and_the_pods_that_use_its_gpus() -> None:
    one, other = node("gpu-1"), node("gpu-2")
    one["metadata"]["labels"] |= {VERSION_LABEL: "580.95.05", STATE_LABEL: "wait-for-jobs-required"}
    other["metadata"]["labels"]["nvidia.com/gpu.present"] = "true"
    found = read_drivers([node("server-1", server=True), one, other], [pod("train", gpus=1), pod("web", on="gpu-2")])

    assert found == [
        NodeDriver("gpu-1", "580.95.05", "wait-for-jobs-required", ("vision/train",)),
        NodeDriver("gpu-2", ""),
    ]


def test_a_node_that_runs_the_pin_has_no_problems() -> None:
    assert describe_problems(NodeDriver("gpu-1", DRIVER, "upgrade-done"), SITE) == "", (
        "without a setting, the operator's default is the pin"
    )
    assert describe_problems(NodeDriver("gpu-1", "580.95.05"), PINNED) == ""


def test_a_node_that_waits_is_reported_with_pin_state_and_pods() -> None:
    waiting = NodeDriver("gpu-1", "570.1.2", "wait-for-jobs-required", ("vision/jupyter-ada",))

    assert (
        describe_problems(waiting, PINNED)
        == "the pin is 580.95.05, wait-for-jobs-required; waits for vision/jupyter-ada"
    )
    assert describe_problems(NodeDriver("gpu-1", "570.1.2"), PINNED) == "the pin is 580.95.05; no pod uses its GPUs"


def test_a_failed_upgrade_is_reported_with_the_command_to_retry() -> None:
    assert f"kubectl label node gpu-1 --overwrite {STATE_LABEL}=upgrade-required" in describe_problems(
        NodeDriver("gpu-1", "570.1.2", FAILED), PINNED
    )


def test_a_driver_too_old_for_an_image_is_reported_with_the_image() -> None:
    text = describe_problems(NodeDriver("gpu-1", "470.1.2"), HELD)

    assert "pytorch-notebook:cuda12-2026-08-03: CUDA 12 needs driver 525 or newer" in text
    assert "the pin" not in text, "the driver of another operator version is unknown"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (("580.95.05", "580.95.05"), ""),
        (("580.95.05", "570.1.2"), "1 of 2 nodes with GPUs do not run driver 580.95.05 yet (gpu-1)"),
        (("570.1.2", "570.1.2"), "no node runs driver 580.95.05 yet: ./lyceum up"),
    ],
)
def test_a_partial_upgrade_lists_the_nodes_that_are_behind(versions: tuple[str, ...], expected: str) -> None:
    found = [NodeDriver(f"gpu-{number}", version) for number, version in enumerate(versions)]

    text = "\n".join(find_warnings(found, PINNED))
    assert text.startswith(expected) if expected else not text


def test_different_drivers_are_reported_without_a_pin() -> None:
    found = [NodeDriver("gpu-1", "580.1.2"), NodeDriver("gpu-2", "595.9.7")]

    assert list(find_warnings(found, HELD)) == ["nodes run different NVIDIA drivers: 580.1.2, 595.9.7"]
