"""Brings the toolchain into `.toolchain`: found in the cache, else downloaded, else built.

    python3 -m toolchain.build [--verify] [--list] [program ...]

Needs only Python's own library, because it runs before the project's virtual environment exists.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from toolchain import cache, compiler, download
from toolchain.console import duration, say, step
from toolchain.programs import Program, programs

PROJECT = Path(__file__).resolve().parent.parent


def missing(candidates: tuple[Program, ...], *, thorough: bool = False) -> list[Program]:
    """Those that the cache lacks, or has damaged."""
    return [one for one in candidates if not cache.is_sound(cache.entry(one), thorough=thorough)]


def ensure(wanted: tuple[Program, ...], *, thorough: bool = False) -> None:
    """Makes the cache hold all of these programs.

    Raises:
        compiler.BuildError: One could be neither downloaded nor built; those before it are in the cache.
    """
    if not missing(wanted, thorough=thorough):
        return
    with cache.lock():
        absent = missing(wanted, thorough=thorough)  # again: another set-up may have been at work
        for one in _download(absent) if absent and download.wanted() else absent:
            _build(one)


def _download(absent: list[Program]) -> list[Program]:
    """Takes what official releases give; returns what is left to build."""
    first = next((one.release for one in absent if one.release), None)
    if first is None or not download.reachable(first):
        return absent
    left = []
    for program in absent:
        if program.release is None:
            left.append(program)
            continue
        try:
            with step(program.name) as shown, cache.scratch(program) as place:
                origin = download.fetch(program, program.release, place / "results", shown)
                cache.publish(program, place / "results", origin)
        except download.UnavailableError as reason:
            say(f"  {program.name:<11} not downloaded: {reason}")
            left.append(program)
    return left


def _build(program: Program) -> None:
    times = cache.times()
    if times.last(program.name) is None:
        say(f"  {program.name:<11} {program.version}: first build, about {duration(program.cold_minutes * 60)}")
    with step(program.name, times) as shown:
        compiler.build(program, compiler.find_go() or compiler.fetch_go(), shown)


def main(arguments: list[str]) -> int:
    """Runs the command; 0 when everything asked for is in place."""
    parser = argparse.ArgumentParser(prog="python3 -m toolchain.build", description="Brings the toolchain into place.")
    parser.add_argument("--verify", action="store_true", help="hash every binary, not only look at its size and time")
    parser.add_argument("--list", action="store_true", help="say what is there, and from where; change nothing")
    parser.add_argument("programs", nargs="*", metavar="program", help="only these")
    options = parser.parse_args(arguments)
    everything = programs()
    unknown = set(options.programs) - {one.name for one in everything}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(one.name for one in everything)}")
    chosen = tuple(one for one in everything if not options.programs or one.name in options.programs)
    if options.list:
        for one in chosen:
            say(f"  {one.name:<11} {one.version:<10} {cache.origin(one)}")
        return 0
    try:
        ensure(chosen, thorough=options.verify)
    except compiler.BuildError as error:
        say(f"toolchain: {error}")
        return 1
    except KeyboardInterrupt:
        say("\ntoolchain: interrupted; what is finished stays, run it again to go on")
        return 130
    finally:
        cache.link(PROJECT / ".toolchain", tuple(one for one in everything if cache.is_sound(cache.entry(one))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
