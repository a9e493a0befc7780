"""Where images are kept: a cache that clones share, beside the toolchain's."""

from pathlib import Path

from toolchain import cache


def images_root() -> Path:
    """Directory of the cache: $LYCEUM_CACHE/images, by default in the user's cache directory."""
    return cache.cache_root().parent / "images"
