"""Programs of the toolchain that `make setup` does not build, for the tests that need them."""

from pathlib import Path

from toolchain import build, environment


def install(program: str, binary: str | None = None) -> Path:
    """Builds a program of the toolchain, if it is not in the cache, and returns the path of one of its binaries."""
    assert build.main([program]) == 0, f"{program} cannot be built; the reason is above"
    return environment.binary(binary or program)
