"""Downloads official releases and verifies them against their published checksums."""

from __future__ import annotations

import os
import platform
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from config.errors import LyceumError
from toolchain import cache
from toolchain.console import Step
from toolchain.programs import Program, Release

PROBE_S = 3.0  # wait for the server's first answer, once a set-up
READ_S = 30.0  # limit without data during a transfer
CHUNK = 1 << 20
X64 = {"x86_64": "x64", "aarch64": "arm64"}
AMD64 = {"x86_64": "amd64", "aarch64": "arm64"}


class UnavailableError(LyceumError):
    """The release cannot be downloaded or verified; the text has the reason."""


def is_allowed() -> bool:
    """Whether LYCEUM_DOWNLOAD (auto, the default, or never) allows downloads of releases."""
    choice = os.environ.get("LYCEUM_DOWNLOAD", "auto")
    if choice not in {"auto", "never"}:
        raise LyceumError(f"LYCEUM_DOWNLOAD={choice}: must be auto (try official releases first) or never (build)")
    return choice == "auto" and platform.machine() in X64


def is_reachable(release: Release) -> bool:
    """Whether the release's server answers within PROBE_S; a refusal is final for this set-up."""
    place = urlsplit(release.archive)
    request = urllib.request.Request(f"{place.scheme}://{place.netloc}/", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S):
            return True
    except urllib.error.HTTPError as answer:
        return answer.code not in {403, 407, 502, 503}  # answers of proxies and filters
    except OSError:
        return False


def download_release(program: Program, release: Release, into: Path, step: Step) -> str:
    """Downloads a release and unpacks the program's binaries.

    Args:
        program: What is wanted.
        release: Where it is.
        into: Directory for the binaries.
        step: Shows the progress of the transfer.

    Returns:
        The archive's URL.

    Raises:
        UnavailableError: The archive or its checksum does not exist, or they do not match.
    """
    machine = platform.machine()
    names = {"version": program.version, "x64": X64[machine], "amd64": AMD64[machine]}
    url = release.archive.format(**names)
    archive = into.parent / Path(urlsplit(url).path).name
    try:
        expected = find_checksum(_read_text(release.checksums.format(**names)), archive.name)
        _download_file(url, archive, step)
    except OSError as error:
        raise UnavailableError(f"{url}: {error}") from error
    if cache.sha256(archive) != expected:
        raise UnavailableError(f"{url}: its SHA-256 is not the published one; not used")
    unpack_binaries(archive, program.binaries, into)
    archive.unlink()
    return url


def find_checksum(listing: str, name: str) -> str:
    """The SHA-256 of a file name in a checksum file.

    Raises:
        UnavailableError: The name is not listed.
    """
    for line in listing.splitlines():
        digest, _, listed = line.partition(" ")
        if listed.strip().lstrip("*") == name:
            return digest.lower()
    raise UnavailableError(f"no published checksum for {name}")


def unpack_binaries(archive: Path, binaries: tuple[str, ...], into: Path) -> None:
    """Extracts the named files from a tar archive, from any directory in it.

    Raises:
        UnavailableError: One is missing.
    """
    into.mkdir(exist_ok=True)
    missing = set(binaries)
    with tarfile.open(archive) as content:
        for member in content:
            name = Path(member.name).name
            file = content.extractfile(member) if member.isfile() and name in missing else None
            if file is None:
                continue
            with file, (into / name).open("wb") as target:
                while block := file.read(CHUNK):
                    target.write(block)
            missing.discard(name)
    if missing:
        raise UnavailableError(f"{archive.name} lacks {', '.join(sorted(missing))}")


def _read_text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=READ_S) as answer:
        return str(answer.read(CHUNK).decode())


def _download_file(url: str, target: Path, step: Step) -> None:
    with urllib.request.urlopen(url, timeout=READ_S) as answer, target.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(CHUNK):
            file.write(block)
            share = f"{100 * file.tell() // total} % of {total >> 20} MiB" if total else f"{file.tell() >> 20} MiB"
            step.note(f"downloading {share}")
