"""Images of the controllers that run as pods of the lab: one program of the toolchain each."""

from lab.images.recipes import Image


def images() -> tuple[Image, ...]:
    """Their names are those of the charts, their tags those of the pins in the toolchain."""
    return ()
