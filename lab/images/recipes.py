"""The images that the lab has: names as charts and pods write them, layers, and how a container starts.

A pod whose images are all here really runs; every other pod is simulated. Programs in images are those of the
toolchain, of this machine, and of PyPI and npm; nothing comes from a registry of images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.versions import CHARTS, CPU_NOTEBOOK, NOTEBOOKS
from lab.k3s.packaged import COREDNS_IMAGE
from toolchain.images.archive import Settings
from toolchain.images.layers import Binaries, Layer, Root, Tools
from toolchain.images.node import Node, NpmPackages
from toolchain.images.python import VENV, Interpreter, Packages

HERE = Path(__file__).parent
SANDBOX = "docker.io/rancher/mirrored-pause:3.6"
"""The image of every pod's sandbox, as K3s sets it."""
TORCH = "docker.io/pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime"
"""That of Kubeflow Trainer's runtime `torch-distributed`."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/"
CERTIFICATES = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}
"""OpenSSL of a package from PyPI looks where another distribution has them."""
JOVYAN = {
    "HOME": "/home/jovyan",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "NB_USER": "jovyan",
    "NB_UID": "1000",
} | CERTIFICATES


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image under one or more names."""

    names: Sequence[str]
    """`registry/path:tag`, with `@sha256:…` where the chart has it; several names have the same content."""
    layers: Sequence[Layer]
    """Above the directories and accounts that every image has; lowest first."""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = "65532"
    """A number, or `uid:gid`."""
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """With the lowest."""
        return (Root(), *self.layers)

    @property
    def settings(self) -> Settings:
        """As the image's configuration says it."""
        return Settings(
            entrypoint=self.entrypoint,
            command=self.command,
            user=self.user,
            environment={"PATH": PATH} | dict(self.env),
            directory=self.workdir,
        )


def images() -> tuple[Image, ...]:
    """All images."""
    from lab.images import recipes_controllers, recipes_monitoring  # noqa: PLC0415  # they import Image from here

    return (*_cluster(), *_notebooks(), *_training(), *recipes_controllers.images(), *recipes_monitoring.images())


def _cluster() -> tuple[Image, ...]:
    return (
        Image(
            names=(SANDBOX, "registry.k8s.io/pause:3.10.1"),
            layers=(Tools(),),
            entrypoint=("/bin/sleep", "2147483647"),
            user="65534",
        ),
        Image(
            names=("docker.io/library/busybox:1.36", "docker.io/library/alpine:3.21"),
            layers=(Tools(),),
            command=("sh",),
            user="0",
        ),
        Image(
            names=(f"docker.io/{COREDNS_IMAGE}",),
            layers=(Binaries("coredns", {"/coredns": "coredns"}),),
            entrypoint=("/coredns",),
        ),
    )


def _notebooks() -> tuple[Image, ...]:
    chart = CHARTS["jupyterhub"].version
    return (
        Image(
            names=(f"quay.io/jupyterhub/k8s-hub:{chart}",),
            layers=(Tools(), Interpreter(), Packages("hub")),
            command=("jupyterhub", "--config", "/usr/local/etc/jupyterhub/jupyterhub_config.py"),
            user="1000",
            env=JOVYAN | {"PATH": f"{VENV}/bin:{PATH}"},
            workdir="/srv/jupyterhub",
        ),
        Image(
            names=("quay.io/jupyterhub/configurable-http-proxy:5.2.0",),
            layers=(Tools(), Node(), NpmPackages("proxy", "configurable-http-proxy")),
            entrypoint=("configurable-http-proxy",),
            user="65534",
            env={"NODE_ENV": "production"},
        ),
        Image(
            names=(
                CPU_NOTEBOOK,
                *(image for _, image in NOTEBOOKS.values()),
                f"quay.io/jupyterhub/k8s-singleuser-sample:{chart}",
            ),
            layers=(Tools(), Interpreter(), Packages("notebook")),
            command=("jupyterhub-singleuser",),
            user="1000:100",
            env=JOVYAN | {"PATH": f"{VENV}/bin:{PATH}", "NB_GID": "100"},
            workdir="/home/jovyan",
        ),
    )


def _training() -> tuple[Image, ...]:
    return (
        Image(
            names=(TORCH,),
            layers=(Tools(), Interpreter(), Packages("torch", programs=(HERE / "torchrun.py", HERE / "sum_ranks.py"))),
            command=("/bin/bash",),
            user="0",
            env=CERTIFICATES | {"PATH": f"{VENV}/bin:{PATH}", "PYTHONUNBUFFERED": "1"},
            workdir="/workspace",
        ),
    )


__all__ = ["SANDBOX", "TORCH", "Binaries", "Image", "Tools", "images"]
