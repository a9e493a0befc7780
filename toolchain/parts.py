"""The parts of the toolchain: which programs belong to one, whether it is there, and what installs it."""

from __future__ import annotations

from toolchain import build
from toolchain.console import duration, print_line
from toolchain.programs import PARTS, Part, Program, programs

__all__ = ["PARTS", "Part", "ensure", "missing", "programs_of", "remedy"]


def programs_of(*parts: Part) -> tuple[Program, ...]:
    """The programs of these parts, in build order."""
    return tuple(one for one in programs() if one.part in parts)


def missing(*parts: Part) -> list[Program]:
    """Programs of these parts that are not in the cache; a few milliseconds."""
    return build.missing_programs(programs_of(*parts))


def ensure(*parts: Part) -> None:
    """Downloads or builds what is missing of these parts, and links it into the project.

    Raises:
        compiler.BuildError: A program could be neither downloaded nor built.
    """
    wanted, absent = programs_of(*parts), missing(*parts)
    linked = all((build.PROJECT / ".toolchain/bin" / name).exists() for one in wanted for name in one.binaries)
    if linked and not absent:
        return
    if absent:
        names = ", ".join(one.name for one in absent)
        took = duration(60 * sum(one.cold_minutes for one in absent))
        print_line(f"  to be installed: {names}; about {took} on two cores if they must be built")
    try:
        build.ensure_programs(wanted)
    finally:
        build.link_cached()


def remedy(part: Part) -> str:
    """What to type when a program of this part is missing."""
    return "make setup" if part == "core" else "make lab-programs"
