"""The cache of finished layers, and the images that it has.

A layer is a directory `layers/<name>-<key>` with `layer.tar` and `layer.json` (digest and size); one rename creates it.
Manifests and configurations follow from the layers, so they are computed and not stored.
"""

import hashlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.images.recipes import Image, images
from toolchain import cache
from toolchain.console import Times, step
from toolchain.images.archive import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    config_document,
    describe,
    manifest_document,
    write_layer,
)
from toolchain.images.layers import Layer, LayerError
from toolchain.images.places import images_root

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
KEPT_S = 7 * 24 * 3600.0
"""How long a layer stays in the cache after its last use: other clones may still need it."""


@dataclass(frozen=True)
class BuiltImage:
    """An image with its documents."""

    names: tuple[str, ...]
    manifest: bytes
    config: bytes
    layers: Mapping[str, Path]
    """Digest -> archive."""

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest."""
        return describe(MANIFEST, self.manifest)


@dataclass(frozen=True)
class Built:
    """All images that the cache has."""

    images: tuple[BuiltImage, ...]
    missing: tuple[str, ...] = ()
    """Names of images whose layers are not there."""

    @property
    def manifests(self) -> dict[str, Descriptor]:
        """Name under which containerd keeps the image -> manifest."""
        return {stored_name(name): image.descriptor for image in self.images for name in image.names}

    @property
    def names(self) -> tuple[str, ...]:
        """Every form in which a pod may write the name of one of them, sorted."""
        return tuple(sorted({form for image in self.images for name in image.names for form in spellings(name)}))

    @property
    def blobs(self) -> dict[str, Path | bytes]:
        """Digest -> content of all manifests, configurations and layers."""
        found: dict[str, Path | bytes] = {}
        for image in self.images:
            found[image.descriptor.digest] = image.manifest
            found[describe(CONFIG, image.config).digest] = image.config
            found |= image.layers
        return found

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for all names and contents."""
        listing = "".join(f"{name} {found.digest}\n" for name, found in sorted(self.manifests.items()))
        return hashlib.sha256(listing.encode()).hexdigest()[:12]


def spellings(name: str) -> tuple[str, ...]:
    """A full image name, and its shorter forms: Docker Hub and its library need not be written."""
    forms = [name]
    for prefix in ("docker.io/", "library/"):
        if forms[-1].startswith(prefix):
            forms.append(forms[-1].removeprefix(prefix))
    if name.startswith("docker.io/library/"):
        forms.append(f"docker.io/{forms[-1]}")
    return tuple(forms)


def full_name(reference: str) -> str:
    """An image name with its registry and, on Docker Hub, its library; the inverse of `spellings`."""
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"docker.io/library/{rest}" if first == "docker.io" and "/" not in rest else reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def stored_name(name: str) -> str:
    """The name under which a kubelet looks for an image: with a digest, the tag does not count.

    An image under a digest of upstream's can be found in containerd's store, but never be pulled.
    """
    repository, _, digest = name.partition("@")
    return f"{repository.rpartition(':')[0]}@{digest}" if digest else name


def layer_path(layer: Layer) -> Path:
    """Directory of a layer in the cache; it may not exist yet.

    Raises:
        LayerError: the layer cannot be made on this machine.
    """
    return images_root() / "layers" / f"{layer.name}-{layer.key()}"


def available() -> Built:
    """The images whose layers are in the cache; milliseconds."""
    built: list[BuiltImage] = []
    missing: list[str] = []
    for image in images():
        found = [_locate_layer(layer) for layer in image.all_layers]
        layers = [part for part in found if part is not None]
        if len(layers) < len(found):
            missing.extend(image.names)
        else:
            built.append(_assemble(image, layers))
    return Built(tuple(built), tuple(missing))


def _locate_layer(layer: Layer) -> tuple[Descriptor, Path] | None:
    try:
        place = layer_path(layer)
        known = json.loads((place / "layer.json").read_text())
    except (LayerError, OSError):
        return None
    return Descriptor(LAYER, known["digest"], known["size"]), place / "layer.tar"


def _assemble(image: Image, layers: list[tuple[Descriptor, Path]]) -> BuiltImage:
    descriptors = [descriptor for descriptor, _ in layers]
    config = config_document(image.settings, descriptors, ARCHITECTURES[platform.machine()])
    return BuiltImage(
        names=tuple(image.names),
        manifest=manifest_document(describe(CONFIG, config), descriptors),
        config=config,
        layers={descriptor.digest: archive for descriptor, archive in layers},
    )


def build_layers(wanted: tuple[Image, ...]) -> None:
    """Makes the layers that the cache lacks, and removes those that nobody used for a week.

    Raises:
        LayerError: One cannot be made; those before it are in the cache.
    """
    layers = {layer_path(layer): layer for image in wanted for layer in image.all_layers}
    if all(_locate_layer(layer) for layer in layers.values()):
        return
    with cache.exclusive_lock(images_root()):
        (images_root() / "layers").mkdir(exist_ok=True)
        for layer in layers.values():
            if _locate_layer(layer) is None:
                _build_layer(layer)
        _remove_unused(set(layers))


def _build_layer(layer: Layer) -> None:
    with (
        step(f"image {layer.name}", Times(images_root() / "times.json")),
        tempfile.TemporaryDirectory(dir=images_root(), prefix=".making-") as scratch,
    ):
        work, place = Path(scratch) / "work", Path(scratch) / "layer"
        work.mkdir()
        place.mkdir()
        written = write_layer(layer.entries(work), place / "layer.tar")
        (place / "layer.json").write_text(json.dumps({"digest": written.digest, "size": written.size}) + "\n")
        target = layer_path(layer)
        shutil.rmtree(target, ignore_errors=True)  # without layer.json: a removal that was interrupted
        place.rename(target)


def _remove_unused(current: set[Path]) -> None:
    for place in current:
        place.touch()
    for place in (images_root() / "layers").iterdir():
        if place not in current and time.time() - place.stat().st_mtime > KEPT_S:
            (place / "layer.json").unlink(missing_ok=True)
            shutil.rmtree(place)
