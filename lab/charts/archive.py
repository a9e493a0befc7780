"""Chart archives and the repository index: the same bytes every time, so that digests never change by themselves."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.charts.crds import build_definitions
from lab.charts.stand_in import CatalogEntry, CatalogError, load_catalog
from lab.charts.templates import condition_expression, render_templates
from toolchain import charts

SOURCE = "lab.lyceum/source"
"""Annotation of a chart in the index: ``stand-in``; ``module`` for one that was packed from the Go module of its
controller; ``archive`` for one that was given as a file."""

FILES = Path(__file__).parent / "files"
"""Chart -> files that its templates read (`.Files.Get "files/<name>"`)."""

_EPOCH = "2026-01-01T00:00:00Z"
"""Helm wants a time of creation; a fixed one keeps the index the same from start to start."""


@dataclass(frozen=True)
class ChartArchive:
    """One chart archive."""

    chart: dict[str, Any]
    """Its Chart.yaml."""
    data: bytes
    """The .tgz."""
    source: str

    @property
    def name(self) -> str:
        """The chart's name."""
        return str(self.chart["name"])

    @property
    def file(self) -> str:
        """The archive's file name, as Helm forms it."""
        return f"{self.name}-{self.chart['version']}.tgz"


def build_chart_files(entry: CatalogEntry) -> dict[str, str]:
    """Path inside the chart -> text, of a stand-in."""
    chart = {
        "apiVersion": "v2",
        "name": entry.name,
        "version": entry.version,
        "appVersion": entry.app_version,
        "description": f"{entry.description} Stand-in of the embedded campus, not the upstream chart.",
        "type": "application",
        "annotations": {SOURCE: "stand-in"},
    }
    files = {"Chart.yaml": _dump_yaml(chart), "values.yaml": _dump_yaml(entry.values)}
    files |= {f"templates/{name}": text for name, text in render_templates(entry).items()}
    # Beside a Python file may be a directory of compiled ones.
    found = sorted(path for path in (FILES / entry.name).glob("*") if path.is_file())
    files |= {f"files/{path.name}": path.read_text() for path in found}
    if entry.crds:
        text = "---\n".join(_dump_yaml(item) for item in build_definitions(entry.crds))
        if entry.crds.place == "crds":
            files["crds/crds.yaml"] = text
        else:
            when = entry.crds.when
            files["templates/crds.yaml"] = (
                f"{{{{- if {condition_expression(when)} }}}}\n{text}{{{{- end }}}}\n" if when else text
            )
    return files


def pack_chart(name: str, files: dict[str, str]) -> bytes:
    """Packs a chart: the same files give the same bytes."""
    return charts.pack_chart(name, {path: text.encode() for path, text in files.items()})


def build_stand_ins(entries: Iterable[CatalogEntry] | None = None) -> list[ChartArchive]:
    """The archives of the catalogue, or of the given entries."""
    archives = []
    for entry in load_catalog() if entries is None else entries:
        files = build_chart_files(entry)
        archives.append(ChartArchive(yaml.safe_load(files["Chart.yaml"]), pack_chart(entry.name, files), "stand-in"))
    return archives


def read_archive(path: Path, source: str = "archive") -> ChartArchive:
    """Reads a chart archive made by ``helm package``.

    Raises:
        CatalogError: The file is not a chart archive.
    """
    data = path.read_bytes()
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            # The chart's own Chart.yaml sits one level down; deeper ones belong to its dependencies.
            member = next(name for name in tar.getnames() if name.count("/") == 1 and name.endswith("/Chart.yaml"))
            stream = tar.extractfile(member)
            chart = yaml.safe_load(stream.read()) if stream else None
    except (tarfile.TarError, StopIteration, yaml.YAMLError, OSError) as error:
        raise CatalogError(
            f"{path}: no Helm chart archive ({str(error) or 'it holds no <chart>/Chart.yaml'})"
        ) from error
    if not isinstance(chart, dict) or not {"name", "version"} <= chart.keys():
        raise CatalogError(f"{path}: its Chart.yaml has no name and version; pack it with `helm package`")
    return ChartArchive(chart, data, source)


def list_module_charts() -> list[Path]:
    """The charts that the toolchain packed beside the controllers that it has built."""
    from toolchain import cache, parts  # noqa: PLC0415  # only labs with real pods ask

    wanted = [
        cache.entry_path(one) / path
        for one in parts.programs_of("controllers")
        for path in one.data
        if path.startswith("charts/")
    ]
    return [path for path in wanted if path.exists()]


def collect_archives(directory: Path | None, packed: Iterable[Path] = ()) -> list[ChartArchive]:
    """Everything the mirror serves.

    Args:
        directory: Real archives (``*.tgz``). Each replaces every other of its name.
        packed: Archives that replace the stand-in of their name; other stand-ins stay.

    Raises:
        CatalogError: The directory holds no archive, or a file that is not an archive.
    """
    given = [read_archive(path) for path in sorted(directory.glob("*.tgz"))] if directory else []
    if directory and not given:
        raise CatalogError(f"{directory}: holds no *.tgz; put chart archives there (`helm pull <chart> --version <v>`)")
    chosen = {archive.name: archive for archive in build_stand_ins()}
    chosen |= {archive.name: archive for archive in (read_archive(path, "module") for path in packed)}
    return [archive for archive in chosen.values() if archive.name not in {one.name for one in given}] + given


def build_index(archives: Iterable[ChartArchive]) -> str:
    """The repository's ``index.yaml``; addresses are relative to it."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for archive in archives:
        digest = hashlib.sha256(archive.data).hexdigest()
        annotations = {**(archive.chart.get("annotations") or {}), SOURCE: archive.source}
        item = {
            **archive.chart,
            "annotations": annotations,
            "urls": [archive.file],
            "digest": digest,
            "created": _EPOCH,
        }
        entries.setdefault(archive.name, []).append(item)
    return _dump_yaml({"apiVersion": "v1", "entries": entries, "generated": _EPOCH})


def _dump_yaml(data: Any) -> str:
    # JSON turns dates and tuples of a foreign Chart.yaml into plain text and lists first.
    return yaml.safe_dump(json.loads(json.dumps(data, default=str)), sort_keys=False, width=120, allow_unicode=True)
