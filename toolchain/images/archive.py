"""OCI images from files: layers as deterministic tar archives, and the JSON documents that refer to them.

The same files give the same bytes, so the same digests: entries are sorted, times are zero, owners are numbers.
Format: https://github.com/opencontainers/image-spec, versions 1.1 of layer, config and manifest.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
NAME = "io.containerd.image.name"
"""Annotation of a manifest in index.json under which containerd imports it."""
MERGED = ("bin", "sbin", "lib", "lib64")
"""Directories that are links into /usr in every image, as in Debian; what is put there lies in /usr."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A file, directory or symbolic link of a layer."""

    path: str
    """Absolute path in the image."""
    content: Path | bytes | None = None
    """Content of a file; None for a directory or a link."""
    link: str = ""
    """Target of a symbolic link."""
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Path in the archive: relative, below usr/ where / has links."""
        parts = [part for part in self.path.split("/") if part]
        return "/".join(["usr", *parts] if parts[0] in MERGED else parts)


@dataclass(frozen=True)
class Descriptor:
    """How one document refers to another."""

    media: str
    digest: str
    """`sha256:<64 hex digits>`."""
    size: int

    def to_json(self) -> dict[str, str | int]:
        """As in a manifest."""
        return {"mediaType": self.media, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a container of the image starts, unless its pod says otherwise."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = "65532"
    """Number, or `uid:gid`; the kubelet cannot check runAsNonRoot for a name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"


def write_layer(entries: Iterable[Entry], target: Path) -> Descriptor:
    """Writes a layer as an uncompressed tar archive.

    Raises:
        ValueError: Two entries have the same path.
    """
    with target.open("wb") as file:
        writer = _HashingWriter(file)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            last = ""
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name == last:
                    raise ValueError(f"{entry.path}: twice in one layer")
                last = entry.name
                _add_entry(tar, entry)
    return Descriptor(LAYER, f"sha256:{writer.digest.hexdigest()}", writer.size)


def _add_entry(tar: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(entry.name)
    info.mode, (info.uid, info.gid) = entry.mode, entry.owner
    if entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
    else:
        info.size = entry.content.stat().st_size
        with entry.content.open("rb") as file:
            tar.addfile(info, file)


class _HashingWriter(io.RawIOBase):
    """Counts and hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


def describe(media: str, document: bytes) -> Descriptor:
    """The descriptor of a document."""
    return Descriptor(media, f"sha256:{hashlib.sha256(document).hexdigest()}", len(document))


def config_document(settings: Settings, layers: Sequence[Descriptor], architecture: str) -> bytes:
    """The image's configuration; an uncompressed layer's digest is also its diff id."""
    start: dict[str, object] = {
        "User": settings.user,
        "Env": [f"{name}={value}" for name, value in sorted(settings.environment.items())],
        "WorkingDir": settings.directory,
    }
    if settings.entrypoint:
        start["Entrypoint"] = list(settings.entrypoint)
    if settings.command:
        start["Cmd"] = list(settings.command)
    return _to_bytes(
        {
            "architecture": architecture,
            "os": "linux",
            "config": start,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )


def manifest_document(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """The image's manifest."""
    return _to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )


def stream_layout(target: IO[bytes], names: Mapping[str, Descriptor], blobs: Mapping[str, Path | bytes]) -> None:
    """Writes an OCI image layout as a tar archive, as `ctr images import` reads it.

    Args:
        target: Where it goes; need not be seekable.
        names: Image name -> its manifest.
        blobs: Digest -> content of all manifests, configurations and layers.
    """
    manifests = [found.to_json() | {"annotations": {NAME: name}} for name, found in sorted(names.items())]
    index = _to_bytes({"schemaVersion": 2, "manifests": manifests})
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
        for entry in _layout_entries(index, blobs):
            _add_entry(tar, entry)


def _layout_entries(index: bytes, blobs: Mapping[str, Path | bytes]) -> Iterator[Entry]:
    yield Entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', mode=0o644)
    yield Entry("index.json", index, mode=0o644)
    for digest, content in sorted(blobs.items()):
        yield Entry(f"blobs/{digest.replace(':', '/')}", content, mode=0o644)


def _to_bytes(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
