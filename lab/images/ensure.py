"""Makes everything that a lab with real pods needs: programs, images, and containerd's root with all images."""

import os
from concurrent.futures import ThreadPoolExecutor

from lab.images.build import Built, available, build_layers
from lab.images.recipes import images
from lab.images.store import ensure_golden, golden_root
from toolchain import parts
from toolchain.console import print_line
from toolchain.images.layers import Binaries
from toolchain.images.places import images_root


def ensure_all() -> Built:
    """Installs programs and makes images that are missing, with progress; a fraction of a second when all is there.

    Raises:
        LyceumError: Something could not be built; what was built before is kept.
    """
    from lab import identity  # noqa: PLC0415  # it uses this package

    wanted = images()
    packages = tuple(image for image in wanted if not any(isinstance(layer, Binaries) for layer in image.layers))
    with ThreadPoolExecutor(max_workers=1) as beside:
        # They wait for networks most of the time, so they cost the compilers nothing.
        packed = beside.submit(build_layers, packages)
        parts.ensure("pods", "controllers")
        packed.result()
    identity.ensure()
    build_layers(wanted)
    built = available()
    images_root().mkdir(parents=True, exist_ok=True)
    # An ordinary user's lab imports them itself, at its first start: files must get the owners of its user namespace.
    if os.geteuid() == 0 and golden_root(built, images_root()) is None:
        ensure_golden(built, images_root(), lambda line: print_line(f"  {line}"))
    return built
