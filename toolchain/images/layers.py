"""Layers of the lab's images: what each is made from, and the files that it has.

A layer is known by its key, a hash of everything that it is made from, so it is made once and shared by all images.
"""

import hashlib
import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import LyceumError
from toolchain import cache
from toolchain.images.archive import Entry
from toolchain.programs import Program, programs

RECIPE = "1"
"""Part of every key; increase it when this room makes other files from the same sources."""
DIRECTORIES = {
    "dev": 0o755, "etc": 0o755, "etc/ssl": 0o755, "etc/ssl/certs": 0o755, "home": 0o755, "opt": 0o755, "proc": 0o555,
    "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o555, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755,
    "usr/lib": 0o755, "usr/lib64": 0o755, "usr/local": 0o755, "usr/local/bin": 0o755, "usr/sbin": 0o755, "var": 0o755,
    "var/lib": 0o755, "var/log": 0o755, "var/run": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
ACCOUNTS = """\
root:x:0:0:root:/root:/bin/sh
jovyan:x:1000:100::/home/jovyan:/bin/bash
nonroot:x:65532:65532::/tmp:/bin/false
nobody:x:65534:65534::/tmp:/bin/false
"""
GROUPS = "root:x:0:\nusers:x:100:\njovyan:x:1000:\nnonroot:x:65532:\nnogroup:x:65534:\n"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIBRARY = re.compile(r"(?:=> |^\s+)(/\S+) \(0x", re.MULTILINE)
LOADER_PLACES = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/")
"""Where the dynamic loader looks without being told; libraries from elsewhere go to /usr/lib."""


class LayerError(LyceumError):
    """A layer cannot be made on this machine; the text has the reason and the remedy."""


class Layer(ABC):
    """One layer."""

    name: str
    """For people and file names."""

    @abstractmethod
    def ingredients(self) -> Iterable[str | bytes]:
        """Everything that decides the layer's files.

        Raises:
            LayerError: An ingredient is not on this machine.
        """

    @abstractmethod
    def entries(self, scratch: Path) -> Iterable[Entry]:
        """Makes the files, in `scratch` where they need a place.

        Raises:
            LayerError: They cannot be made.
        """

    def key(self) -> str:
        """Hash of the ingredients: twelve hexadecimal digits."""
        digest = hashlib.sha256(f"{RECIPE} {type(self).__name__} {self.name}".encode())
        for part in self.ingredients():
            data = part.encode() if isinstance(part, str) else part
            digest.update(f"\0{len(data)}\0".encode() + data)
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Root(Layer):
    """Directories, accounts and certificates of every image."""

    name: str = "root"

    def ingredients(self) -> Iterable[str | bytes]:
        """This module's tables and the machine's certificates."""
        return [str(DIRECTORIES), ACCOUNTS, GROUPS, identify_file(CERTIFICATES)]

    def entries(self, scratch: Path) -> Iterable[Entry]:  # noqa: ARG002
        """No program is among them."""
        yield from (Entry(path, mode=mode) for path, mode in DIRECTORIES.items())
        # Not through Entry's own rule for /bin and others: these are the links that it follows.
        yield from (_RootLink(f"/{name}", link=f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64"))
        yield Entry("/etc/passwd", ACCOUNTS.encode(), mode=0o644)
        yield Entry("/etc/group", GROUPS.encode(), mode=0o644)
        yield Entry("/etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n", mode=0o644)
        yield Entry("/etc/ssl/certs/ca-certificates.crt", CERTIFICATES.read_bytes(), mode=0o644)


class _RootLink(Entry):
    @property
    def name(self) -> str:
        return self.path.lstrip("/")


@dataclass(frozen=True)
class Tools(Layer):
    """Busybox with all its commands, and bash: for images whose pods call a shell.

    A static busybox would end with SIGSEGV at each look-up of a name: its C library loads the image's other one.
    """

    name: str = "tools"

    def ingredients(self) -> Iterable[str | bytes]:
        """Both programs."""
        return [identify_file(find_program("busybox")), identify_file(find_program("bash"))]

    def entries(self, scratch: Path) -> Iterable[Entry]:  # noqa: ARG002
        """Everything in /usr/bin."""
        busybox, bash = find_program("busybox"), find_program("bash")
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
        yield Entry("/usr/bin/busybox", busybox)
        yield Entry("/usr/bin/bash", bash)
        for applet in listed.split():
            if applet not in {"busybox", "bash"}:
                yield Entry(f"/usr/bin/{applet}", link="busybox")
        yield from shared_libraries([busybox, bash])


@dataclass(frozen=True)
class Binaries(Layer):
    """Programs of the toolchain."""

    program: str
    """Name of the toolchain's Program."""
    binaries: Mapping[str, str]
    """Path in the image -> binary of that program."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    """Path in the image -> target of the symbolic link."""
    directories: Mapping[str, int] = field(default_factory=dict)
    """Path in the image -> mode."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the program."""
        return self.program

    def ingredients(self) -> Iterable[str | bytes]:
        """The program's key in the toolchain's cache, which stands for its binaries."""
        yield cache.entry_key(self._source())
        yield repr([sorted(part.items()) for part in (self.binaries, self.files, self.links, self.directories)])

    def entries(self, scratch: Path) -> Iterable[Entry]:  # noqa: ARG002
        """The binaries are static."""
        place = cache.entry_path(self._source()) / "bin"
        for name in self.binaries.values():
            if not (place / name).exists():
                raise LayerError(f"{name} is not in the toolchain's cache. Remedy: make lab-programs")
        yield from (Entry(path, place / name) for path, name in self.binaries.items())
        yield from (Entry(path, content, mode=0o644) for path, content in self.files.items())
        yield from (Entry(path, link=target) for path, target in self.links.items())
        yield from (Entry(path, mode=mode) for path, mode in self.directories.items())

    def _source(self) -> Program:
        found = next((one for one in programs() if one.name == self.program), None)
        if found is None:
            raise LayerError(f"the toolchain has no program {self.program}")
        return found


def find_program(name: str) -> Path:
    """A program of this machine.

    Raises:
        LayerError: It is not installed.
    """
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise LayerError(f"{name} is not on this machine, and images of the lab contain it. Remedy: make setup")
    return Path(found).resolve()


def identify_file(file: Path) -> str:
    """A file of this machine, cheaply: an upgrade changes size or time."""
    status = file.stat()
    return f"{file} {status.st_size} {status.st_mtime_ns}"


def shared_libraries(files: Sequence[Path], *, without: Path | None = None) -> list[Entry]:
    """The libraries that the dynamic loader loads for these programs and libraries.

    Args:
        files: ELF files; static ones need nothing.
        without: Libraries below this directory are left out: they come with the layer.
    """
    if not files:
        return []
    # It exits with 1 if one of the files is static.
    output = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    found: dict[str, Entry] = {}
    for library in sorted(set(LIBRARY.findall(output))):
        if without is not None and Path(library).resolve().is_relative_to(without):
            continue
        place = library if library.startswith(LOADER_PLACES) else f"/usr/lib/{Path(library).name}"
        entry = Entry(place, Path(library).resolve())
        found[entry.name] = entry
    return list(found.values())


def tree_entries(root: Path, place: str) -> Iterator[Entry]:
    """Everything below `root`, to be put below `place`, with parents, root's and readable by all."""
    parts = place.strip("/").split("/")
    for depth in range(1, len(parts) + 1):
        if (parent := "/".join(parts[:depth])) not in DIRECTORIES:
            yield Entry(parent)
    for directory, directories, files in os.walk(root):
        inside = Path(directory).relative_to(root)
        for name in (*directories, *files):
            file, path = Path(directory) / name, f"{place}/{inside / name}"
            if file.is_symlink():
                yield Entry(path, link=str(file.readlink()))
            elif file.is_dir():
                yield Entry(path)
            else:
                yield Entry(path, file, mode=0o755 if os.access(file, os.X_OK) else 0o644)
