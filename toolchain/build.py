"""Installs the toolchain into `.toolchain`: from the cache, otherwise downloaded, otherwise built.

    python3 -m toolchain.build [--verify] [--list] [--part PART] [program ...]

Uses only the standard library, because it runs before the project's virtual environment exists.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from config.errors import LyceumError
from toolchain import cache, compiler, download
from toolchain.console import duration, print_line, step
from toolchain.programs import PARTS, Program, programs

PROJECT = Path(__file__).resolve().parent.parent
BUILD_BYTES_PER_MINUTE = 1.2 * (1 << 30)
"""Of a first build, measured: compiled packages 17 GiB, sources 7 GiB and results 3.5 GiB in 23 minutes."""


def missing_programs(candidates: tuple[Program, ...], *, thorough: bool = False) -> list[Program]:
    """The programs that are not in the cache, or are damaged there."""
    return [one for one in candidates if not cache.is_intact(cache.entry_path(one), thorough=thorough)]


def ensure_programs(wanted: tuple[Program, ...], *, thorough: bool = False) -> None:
    """Downloads or builds the programs that are not in the cache.

    Raises:
        compiler.BuildError: One could be neither downloaded nor built; those before it are in the cache.
    """
    if not missing_programs(wanted, thorough=thorough):
        return
    with cache.exclusive_lock():
        absent = missing_programs(wanted, thorough=thorough)  # again: another set-up may have been at work
        left = _download_releases(absent) if absent and download.is_allowed() else absent
        if note := space_note(left, shutil.disk_usage(cache.cache_root()).free):
            print_line(note)
        for one in left:
            _build_program(one)


def space_note(left: list[Program], free: int) -> str:
    """A line that says so where a first build may need more bytes than are free; empty if there is room."""
    needed = BUILD_BYTES_PER_MINUTE * sum(one.cold_minutes for one in left)
    if needed <= free:
        return ""
    gib = 1 << 30
    return (
        f"  space: a first build takes up to {needed / gib:.0f} GiB, most of it in Go's caches; {free / gib:.0f} GiB are "
        f"free in {cache.cache_root()}"
    )


def _download_releases(absent: list[Program]) -> list[Program]:
    """Downloads the official releases that are available; returns the programs that are left to build."""
    first = next((one.release for one in absent if one.release), None)
    if first is None or not download.is_reachable(first):
        return absent
    left = []
    for program in absent:
        if program.release is None:
            left.append(program)
            continue
        try:
            with step(program.name) as shown, cache.scratch_directory(program) as place:
                origin = download.download_release(program, program.release, place / "results", shown)
                cache.publish_entry(program, place / "results", origin)
        except download.UnavailableError as reason:
            print_line(f"  {program.name:<11} not downloaded: {reason}")
            left.append(program)
    return left


def _build_program(program: Program) -> None:
    times = cache.build_times()
    if times.last(program.name) is None:
        print_line(f"  {program.name:<11} {program.version}: first build, about {duration(program.cold_minutes * 60)}")
    with step(program.name, times) as shown:
        compiler.build_program(program, compiler.find_go() or compiler.fetch_go(), shown)


def link_cached() -> None:
    """Links every program that the cache has into the project."""
    cached = tuple(one for one in programs() if cache.is_intact(cache.entry_path(one)))
    cache.link_programs(PROJECT / ".toolchain", cached)


def main(arguments: list[str]) -> int:
    """Runs the command; returns 0 when everything requested is installed."""
    parser = argparse.ArgumentParser(prog="python3 -m toolchain.build", description="Installs the toolchain.")
    parser.add_argument("--verify", action="store_true", help="hash every binary, not only look at its size and time")
    parser.add_argument(
        "--list", action="store_true", help="list what is installed and where it came from; change nothing"
    )
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="programs of this part; default: core. May be repeated"
    )
    parser.add_argument("programs", nargs="*", metavar="program", help="only these")
    options = parser.parse_args(arguments)
    everything = programs()
    unknown = set(options.programs) - {one.name for one in everything}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(one.name for one in everything)}")
    parts = options.part or (PARTS if options.list else PARTS[:1])
    chosen = tuple(
        one for one in everything if (one.name in options.programs if options.programs else one.part in parts)
    )
    if options.list:
        for one in chosen:
            print_line(f"  {one.part:<11} {one.name:<19} {one.version:<10} {cache.read_origin(one)}")
        return 0
    try:
        ensure_programs(chosen, thorough=options.verify)
    except LyceumError as error:
        print_line(f"toolchain: {error}")
        return 1
    except KeyboardInterrupt:
        print_line("\ntoolchain: interrupted; finished programs are kept, run it again to continue")
        return 130
    finally:
        link_cached()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
