"""The cache of finished programs, shared by all clones on a machine, and a project's links into it.

An entry is a directory `<program>-<key>` with `bin/`, other results, and `manifest.json`. The key is a hash of everything that the
program is made from, so an entry never changes; one rename creates it, so it is complete or does not exist.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain.console import Times, print_line
from toolchain.programs import HERE, Program

RECIPE = "1"
"""Part of every key; increase it when a recipe changes its result for the same sources."""


def cache_root() -> Path:
    """Directory of the cache: $LYCEUM_CACHE/toolchain, by default in the user's cache directory."""
    chosen = os.environ.get("LYCEUM_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "lyceum") / "toolchain"


def entry_key(program: Program) -> str:
    """Hash of the program's version, sources and platform: twelve hexadecimal digits."""
    directory = HERE / program.module
    digest = hashlib.sha256(f"{RECIPE} {program.name} {program.version} {platform.machine()}".encode())
    if program.data:
        # Binaries are made by the compiler, charts by our own code.
        digest.update((HERE / "charts.py").read_bytes())
    for file in source_files(program):
        digest.update(f"\0{file.relative_to(directory)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def source_files(program: Program) -> list[Path]:
    """Files that the program is built from, sorted."""
    directory = HERE / program.module
    files = [directory / "go.mod", directory / "go.sum"]
    for name in program.sources:
        path = directory / name
        files += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(files)


def entry_path(program: Program) -> Path:
    """Directory of the program's entry, which may not exist yet."""
    return cache_root() / f"{program.name}-{entry_key(program)}"


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_origin(program: Program) -> str:
    """Where the cached program came from, as text for a person."""
    try:
        return str(json.loads((entry_path(program) / "manifest.json").read_text())["origin"])
    except (OSError, ValueError, KeyError):
        return "not installed"


def build_times() -> Times:
    """Duration of each build on this machine."""
    return Times(cache_root() / "times.json")


def is_intact(directory: Path, *, thorough: bool = False) -> bool:
    """Whether an entry is complete and unchanged.

    Size and modification time are compared with the manifest each time; the SHA-256 only if a time differs or with
    `thorough`, because hashing 700 MB takes seconds.
    """
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
        files = {directory / "bin" / name: known for name, known in manifest["files"].items()}
        files |= {directory / path: known for path, known in manifest.get("data", {}).items()}
        for file, known in files.items():
            status = file.stat()
            if status.st_size != known["size"]:
                return False
            if (thorough or status.st_mtime_ns != known["mtime_ns"]) and sha256(file) != known["sha256"]:
                return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(files)


def publish_entry(program: Program, made: Path, origin: str) -> None:
    """Moves finished binaries and data into the cache.

    Args:
        program: What they are.
        made: Directory of the results, inside the cache's own file system.
        origin: "built" or the URL they came from.

    Raises:
        FileNotFoundError: A binary or a data file is missing.
    """
    for name in program.binaries:
        (made / name).chmod(0o755)
    manifest = {
        "program": program.name,
        "version": program.version,
        "origin": origin,
        "files": {name: _file_identity(made / name) for name in program.binaries},
        "data": {path: _file_identity(made / path) for path in program.data},
    }
    staging = made.parent / "entry"
    (staging / "bin").mkdir(parents=True)
    for name in program.binaries:
        (made / name).rename(staging / "bin" / name)
    for path in program.data:
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).rename(staging / path)
    (staging / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    target = entry_path(program)
    if target.exists():  # damaged, or it would not have been made again
        shutil.rmtree(target)
    staging.rename(target)


def _file_identity(file: Path) -> dict[str, str | int]:
    status = file.stat()
    return {"sha256": sha256(file), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


@contextmanager
def scratch_directory(program: Program) -> Iterator[Path]:
    """A temporary directory in the cache's file system."""
    with tempfile.TemporaryDirectory(
        dir=cache_root(), prefix=f".making-{program.name}-", ignore_cleanup_errors=True
    ) as path:
        yield Path(path)


@contextmanager
def exclusive_lock(root: Path | None = None) -> Iterator[None]:
    """Lets one process at a time fill a cache (default: this one), and removes what a killed process left."""
    root = root or cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_line(f"  waiting for another set-up, which is filling the cache {root}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        for left in root.glob(".making-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def link_programs(project: Path, programs: tuple[Program, ...]) -> None:
    """Links the entries into a project's `.toolchain`.

    `bin/` has every binary: a hard link if the cache is on the same file system, otherwise a copy, because the lab mounts
    this directory in its hosts, which cannot see the cache. `pulumi/plugins/` has the provider plugins in the layout of a
    Pulumi home directory: for plugins on PATH pulumi would print a warning at every command.
    """
    binaries = {project / "bin" / name: entry_path(one) / "bin" / name for one in programs for name in one.binaries}
    plugins = {
        project / "pulumi" / "plugins" / f"{name.removeprefix('pulumi-')}-v{one.version}" / name
        for one in programs
        for name in one.binaries
        if name.startswith("pulumi-resource-")
    }
    for place, binary in binaries.items():
        if not _is_same_file(place, binary):
            with _replace_atomically(place) as fresh:
                try:
                    fresh.hardlink_to(binary)
                except OSError:
                    shutil.copy2(binary, fresh)
    for place in plugins:
        target = Path("../../../bin") / place.name
        if not (place.is_symlink() and place.readlink() == target):
            with _replace_atomically(place) as fresh:
                fresh.symlink_to(target)
    for place in [*project.glob("bin/*"), *project.glob("pulumi/plugins/*/*")]:
        if place not in binaries and place not in plugins:
            place.unlink()
            if place.parent.name != "bin" and not any(place.parent.iterdir()):
                place.parent.rmdir()


def _is_same_file(place: Path, binary: Path) -> bool:
    if place.is_symlink() or not place.exists():
        return False
    here, there = place.stat(), binary.stat()
    return place.samefile(binary) or (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)


@contextmanager
def _replace_atomically(place: Path) -> Iterator[Path]:
    """A temporary name that replaces the file atomically at the end."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    yield fresh
    fresh.replace(place)
