"""Programs and images for tests in which pods really run: made by the first test that asks, kept in the cache."""

from lab.images.build import build_layers
from lab.images.recipes import images
from toolchain import parts


def ensure_images(*names: str) -> None:
    """Installs the programs of real nodes, and makes the images of these names and the sandbox's."""
    parts.ensure("pods")
    wanted = {*names, "docker.io/rancher/mirrored-pause:3.6"}
    build_layers(tuple(image for image in images() if wanted & set(image.names)))
