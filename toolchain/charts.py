"""Packs Helm charts from the Go modules that their controllers are built from.

A module has the chart's sources as they are in Git. What a project's release changes in them (the image of the release,
the version, the charts that it depends on) is changed here in the same way. Nothing of it is in the repository.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

IGNORED = ("tests", "README.md.gotmpl", "README.template.md", ".helmignore")
"""Files and directories of the sources that a released chart does not have."""

_ALL_DEFINITIONS = (
    '{{- range $path, $_ := .Files.Glob "definitions/*.yaml" }}\n---\n{{ $.Files.Get $path }}\n{{- end }}\n'
)


class ChartSourceError(Exception):
    """The chart's sources are not as expected; the text names file and text."""


def read_chart(directory: Path) -> dict[str, bytes]:
    """Reads a chart's sources: path inside the chart -> content."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).parts[0] not in IGNORED
    }


def replace_text(files: dict[str, bytes], name: str, changes: Sequence[tuple[str, str]]) -> None:
    """Replaces texts in a file of the chart.

    Raises:
        ChartSourceError: A text is not in the file.
    """
    text = files[name].decode()
    for old, new in changes:
        if old not in text:
            raise ChartSourceError(f"{name} has no {old!r}: the module's chart is not the one that this recipe knows")
        text = text.replace(old, new)
    files[name] = text.encode()


def pack_chart(name: str, files: Mapping[str, bytes]) -> bytes:
    """Packs a chart archive: entries sorted, times and owners zero, so that the same sources give the same bytes."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for path, content in sorted(files.items()):
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(content), 0o644
            out.addfile(info, io.BytesIO(content))
    return gzip.compress(tar.getvalue(), mtime=0)


def kueue_chart(module: Path) -> bytes:
    """Kueue's chart with the images of the release instead of the development branch's."""
    files = read_chart(module / "charts" / "kueue")
    staging, version = "us-central1-docker.pkg.dev/k8s-staging-images/kueue", module.name.partition("@")[2]
    replace_text(files, "values.yaml", [(staging, "registry.k8s.io/kueue"), ("tag: release-0.19", f"tag: {version}")])
    return pack_chart("kueue", files)


def cert_manager_chart(module: Path) -> bytes:
    """cert-manager's chart with the version of the release."""
    files = read_chart(module / "deploy" / "charts" / "cert-manager")
    replace_text(files, "Chart.yaml", [("v0.0.0", module.name.partition("@")[2])])
    return pack_chart("cert-manager", files)


def metallb_chart(module: Path) -> bytes:
    """MetalLB's chart; the module has its dependencies too."""
    return pack_chart("metallb", read_chart(module / "charts" / "metallb"))


def trainer_chart(trainer: Path, jobset: Path) -> bytes:
    """Trainer's chart with JobSet's inside, and without LeaderWorkerSet's, which only its data cache needs."""
    inner = read_chart(jobset / "charts" / "jobset")
    image = "us-central1-docker.pkg.dev/k8s-staging-images/jobset/jobset"
    version = jobset.name.partition("@")[2]
    replace_text(
        inner, "values.yaml", [(image, "registry.k8s.io/jobset/jobset"), ("  tag: main\n", f"  tag: {version}\n")]
    )
    files = read_chart(trainer / "charts" / "kubeflow-trainer")
    text = files["Chart.yaml"].decode()
    start = text.index("- name: lws\n")
    end = text.index("\nkeywords:", start)
    files["Chart.yaml"] = (text[:start] + text[end:]).encode()
    files |= {f"charts/jobset/{path}": content for path, content in inner.items()}
    return pack_chart("kubeflow-trainer", files)


def operator_definitions_chart(module: Path, version: str) -> bytes:
    """The chart of the Prometheus Operator's custom resource definitions, `version` of it.

    They are in a chart inside the chart, as upstream's are: Helm does not store that with a release, whose Secret may
    have 1 MiB.
    """
    source = module / "example" / "prometheus-operator-crd"
    chart = f"apiVersion: v2\nname: prometheus-operator-crds\nversion: {version}\nappVersion: {module.name.partition('@')[2]}\n"
    inner = chart.replace("name: prometheus-operator-crds", "name: crds")
    files = {
        "Chart.yaml": chart.encode(),
        "charts/crds/Chart.yaml": inner.encode(),
        "charts/crds/templates/crds.yaml": _ALL_DEFINITIONS.encode(),
    }
    found = {f"charts/crds/definitions/{one.name}": one.read_bytes() for one in source.glob("*_*.yaml")}
    return pack_chart("prometheus-operator-crds", files | found)
