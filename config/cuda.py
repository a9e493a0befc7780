"""CUDA: which driver an image needs, and which one the nodes get. Pure."""

import re
from collections.abc import Iterator

from config.site import Site
from config.versions import CHARTS, DRIVER, NOTEBOOKS
from config.workspaces import Profile

LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA major -> least major of the driver, with minor version compatibility. Source: NVIDIA, CUDA Compatibility, table 1
(docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, read 2026-11). A newer driver supports older CUDA versions."""
_TAG = re.compile(r"(?:^|[-_.])(?:cuda-?(\d{2})(?!\d)|cu(\d{2})\d(?!\d))")


def image_cuda(image: str) -> int | None:
    """CUDA major version in an image's tag: 12 for `pytorch-notebook:cuda12-2026-08-03` and `torch:2.8-cu126`; or None."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _TAG.search(tag)
    return int(found[1] or found[2]) if found else None


def profile_cuda(profile: Profile) -> int | None:
    """CUDA major version of a profile: its setting, or that of its image's tag; None if unknown."""
    return profile.cuda or (image_cuda(profile.image) if profile.gpu else None)


def offered_images(site: Site) -> Iterator[tuple[str, int]]:
    """Images that JupyterHub offers with a GPU, each with its CUDA major version; without those whose version is unknown."""
    hub = site.workspaces.jupyterhub
    if not hub.enabled:
        return
    if hub.profiles:
        images = {profile.image: profile_cuda(profile) for profile in hub.profiles if profile.gpu}
    else:
        images = {image: image_cuda(image) for _, image in NOTEBOOKS.values()}
    yield from ((image, cuda) for image, cuda in images.items() if cuda)


def expected_driver(site: Site) -> str | None:
    """The driver version that the nodes get: the site's, or that of the pinned operator; None if unknown."""
    operator = site.platform.gpu_operator
    if not operator.enabled:
        return None
    own = CHARTS["gpu-operator"].version
    return operator.driver or (DRIVER if site.versions.get("gpu-operator", own) == own else None)


def is_expected_driver(version: str, expected: str) -> bool:
    """Whether a driver's version is the expected one, or of the expected branch, as `595.91.07` is of `595`."""
    return version == expected or version.startswith(f"{expected}.")


def required_driver(driver: str, cuda: int) -> int | None:
    """The driver major version that a CUDA major version needs, if the driver is older than that; else None."""
    least = LEAST_DRIVER.get(cuda)
    return least if least and int(driver.partition(".")[0]) < least else None
