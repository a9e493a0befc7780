"""Makes everything that a lab with real pods needs: programs, images, and containerd's root with all images."""

import os

from lab.images.build import Built, available, build_layers
from lab.images.places import images_root
from lab.images.recipes import images
from lab.images.store import ensure_golden, golden_root
from toolchain import parts
from toolchain.console import print_line


def ensure_all() -> Built:
    """Installs programs and makes images that are missing, with progress; a fraction of a second when all is there.

    Raises:
        LyceumError: Something could not be built; what was built before is kept.
    """
    parts.ensure("pods", "controllers")
    build_layers(images())
    built = available()
    images_root().mkdir(parents=True, exist_ok=True)
    # An ordinary user's lab imports them itself, at its first start: files must get the owners of its user namespace.
    if os.geteuid() == 0 and golden_root(built, images_root()) is None:
        ensure_golden(built, images_root(), lambda line: print_line(f"  {line}"))
    return built
