"""Versions: what is installed together is supported together."""

import re
from collections.abc import Iterator

from config import cuda
from config.finding import Finding, suggest_name
from config.layers import is_installed
from config.site import Site
from config.versions import CHARTS, MIN_METALLB, SUPPORT

_VERSION = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


def kubernetes_minor(version: str) -> int:
    """`v1.36.4+k3s1` -> 36."""
    return int(version.split(".")[1])


def check_kubernetes_support(site: Site) -> Iterator[Finding]:
    """Every installed component supports the Kubernetes minor version."""
    minor = kubernetes_minor(site.k3s.version)
    for support in SUPPORT:
        if is_installed(site, support.part) and not support.first <= minor <= support.last:
            wanted = f"1.{support.first} to 1.{support.last}"
            rule = f"is Kubernetes 1.{minor}; {support.part} needs {wanted} ({support.source})"
            yield Finding(
                ("k3s", "version"), rule, f"pin another K3s release, or disable {support.part}", value=site.k3s.version
            )
    least = MIN_METALLB.get(minor)
    pinned = site.versions.get("metallb")
    if (
        is_installed(site, "metallb")
        and least
        and pinned
        and _VERSION.fullmatch(pinned)
        and _major_and_minor(pinned) < least
    ):
        rule = f"is too old for Kubernetes 1.{minor}"
        yield Finding(("versions", "metallb"), rule, f"use {least[0]}.{least[1]} or newer")


def check_cuda_drivers(site: Site) -> Iterator[Finding]:
    """The nodes' driver is new enough for the CUDA version of the images that JupyterHub offers."""
    driver = cuda.expected_driver(site)
    if driver is None:
        return
    own = site.workspaces.jupyterhub.profiles
    places = {
        profile.image: ("workspaces", "jupyterhub", "profiles", index, "image") for index, profile in enumerate(own)
    }
    for image, major in cuda.offered_images(site):
        if least := cuda.required_driver(driver, major):
            rule = f"has CUDA {major}, which needs driver {least} or newer; the nodes get {driver}"
            remedy = "raise platform.gpu-operator.driver, or use an image with an older CUDA"
            yield Finding(places.get(image, ("platform", "gpu-operator", "driver")), rule, remedy, value=image)


def _major_and_minor(version: str) -> tuple[int, int]:
    major, minor, *_ = version.removeprefix("v").split(".")
    return int(major), int(minor)


def check_pinned_charts(site: Site) -> Iterator[Finding]:
    """Every pinned chart exists, and its version is a valid one."""
    for chart, version in site.versions.items():
        if chart not in CHARTS:
            yield Finding(("versions", chart), "is not one of the charts", suggest_name(chart, CHARTS), value=chart)
        elif not _VERSION.fullmatch(version):
            example = CHARTS[chart].version
            yield Finding(("versions", chart), "is not a valid version", f"write it as in `{example}`")
