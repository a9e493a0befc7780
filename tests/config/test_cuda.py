"""Which CUDA an image has, and which driver that needs."""

import pytest

from config import cuda
from config.versions import DRIVER, NOTEBOOKS
from tests.support.sites import site


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03", 12),
        ("quay.io/jupyter/tensorflow-notebook:cuda-2026-08-03", None),
        ("docker.io/pytorch/pytorch:2.8.0-cuda12.9-cudnn9-runtime", 12),
        ("ghcr.io/campus/torch:2.8-cu130", 13),
        ("docker.io/nvidia/cuda:13.0.1-base", None),
        ("registry:5000/cuda12-tools:2026", None),
        ("quay.io/jupyter/pytorch-notebook:cuda11-1@sha256:" + "ab" * 32, 11),
    ],
)
def test_a_tag_tells_its_cuda_or_nothing(image: str, major: int | None) -> None:
    """A guess would let a notebook start that cannot compute."""
    assert cuda.image_cuda(image) == major


@pytest.mark.parametrize(
    ("driver", "major", "least"),
    [("525.60.13", 12, None), ("470.57.02", 12, 525), ("570.1", 13, 580), ("595.91.07", 11, None), ("400.1", 10, None)],
)
def test_a_driver_runs_its_own_cuda_and_older_ones(driver: str, major: int, least: int | None) -> None:
    assert cuda.required_driver(driver, major) == least


def test_the_pin_is_the_sites_or_the_operators_or_unknown() -> None:
    operator = {"gpu-operator": {"driver": "580.95.05"}}

    assert cuda.expected_driver(site()) == DRIVER
    assert cuda.expected_driver(site({"platform": operator})) == "580.95.05"
    assert cuda.expected_driver(site({"versions": {"gpu-operator": "v25.10.1"}})) is None
    assert cuda.expected_driver(site({"platform": {"gpu-operator": {"enabled": False}}})) is None


def test_without_profiles_the_notebooks_that_are_offered_count() -> None:
    assert dict(cuda.offered_images(site())) == {NOTEBOOKS["pytorch"][1]: 12}
    assert dict(cuda.offered_images(site({"workspaces": {"jupyterhub": {"enabled": False}}}))) == {}


def test_a_precompiled_driver_is_expected_by_its_branch() -> None:
    assert cuda.is_expected_driver("595.91.07", "595")
    assert not cuda.is_expected_driver("5951.1.1", "595")
    assert not cuda.is_expected_driver("580.95.05", "595")
