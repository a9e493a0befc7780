"""The programs of the toolchain: which versions, from which sources, by which steps.

Every version is pinned once: those of Pulumi's packages in requirements.txt, because a plugin must match its Python
package, and those of everything else in the go.mod of its directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

HERE = Path(__file__).resolve().parent
SDK = "github.com/pulumi/pulumi/sdk/v3"
KUBERNETES_PROVIDER = "github.com/pulumi/pulumi-kubernetes/provider/v4"
CONTAINERD = "github.com/containerd/containerd/v2"


Part = Literal["core", "pods", "controllers"]
"""What a program is for: `core` is what every command needs, `pods` what a real node of the lab runs, `controllers` the
programs inside pods of the lab. `make setup` installs core only, `make lab-programs` and `make demo` all."""
PARTS: tuple[Part, ...] = ("core", "pods", "controllers")


class BuildWorkspace(Protocol):
    """What a recipe needs: a private copy of the sources, a compiler, and a directory for the results."""

    source: Path
    version: str

    def compile(
        self,
        package: str,
        binary: Path | str,
        variables: dict[str, str] | None = None,
        tags: Sequence[str] = (),
        unoptimized: str = "",
    ) -> None:
        """Builds a Go package into a binary.

        Args:
            package: Its import path.
            binary: Where to; a plain name puts it in the results directory.
            variables: Values of string variables, by `package.name`.
            tags: Build tags.
            unoptimized: A pattern of packages (`example.org/sdk/...`) whose compilation is to be quick, not their code.
        """

    def module(self, path: str) -> Path:
        """Downloads a Go module, verified against go.sum; returns its (read-only) directory."""

    def copy_module(self, path: str, name: str) -> Path:
        """Copies a Go module, writable, to `name` in the source directory, for a `replace` line of go.mod."""

    def run(self, *command: str | Path) -> None:
        """Runs a program in the source directory."""

    def keep(self, file: Path) -> None:
        """Copies a file to the results directory, executable."""

    def keep_data(self, path: str, content: bytes) -> None:
        """Writes a file that is not a program to the results; `path` as in Program.data."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """An official release: a tar archive, and a file with the SHA-256 of each archive of that release."""

    archive: str
    """URL; `{version}`, `{x64}` (x64 or arm64) and `{amd64}` (amd64 or arm64) are filled in."""
    checksums: str
    """URL of lines `<sha256>  <file name>`."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One entry of the cache: binaries that are built, or downloaded, together."""

    name: str
    version: str
    module: str
    """Directory below toolchain/ that holds go.mod."""
    sources: tuple[str, ...]
    """Files and directories that it is built from, besides go.mod and go.sum."""
    binaries: tuple[str, ...]
    build: Callable[[BuildWorkspace], None]
    cold_minutes: float
    """Duration of a first build on two cores, measured; shown to the person who waits."""
    release: Release | None = None
    part: Part = "core"
    data: tuple[str, ...] = ()
    """Results that are not programs, by their path in the cache entry: `charts/kueue-0.19.2.tgz`."""


def pinned_requirement(package: str) -> str:
    """The version that requirements.txt pins for a Python package."""
    return _read_pin(HERE.parent / "requirements.txt", rf"^{re.escape(package)}==(\S+)$", package)


def pinned_module(directory: str, path: str) -> str:
    """The version that a go.mod requires of a module, without the leading v."""
    return _read_pin(HERE / directory / "go.mod", rf"^(?:require|\t)\s*{re.escape(path)} v(\S+)", path)


def _read_pin(file: Path, pattern: str, what: str) -> str:
    found = re.search(pattern, file.read_text(), re.MULTILINE)
    if not found:
        raise LookupError(f"{file}: no exact version of {what}; pin it there, because the toolchain must match it")
    return found.group(1)


def _build_pulumi(workspace: BuildWorkspace) -> None:
    version = {f"{SDK}/go/common/version.Version": f"v{workspace.version}"}
    workspace.compile("github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", "pulumi", version)
    workspace.compile("./langhost", "pulumi-language-python", {"main.version": workspace.version})
    # The SDK has the script that runs a program under the engine; pulumi looks for it beside its own executable.
    workspace.keep(workspace.module(SDK) / "python" / "cmd" / "pulumi-language-python-exec")


def _build_command(workspace: BuildWorkspace) -> None:
    workspace.compile("./command", "pulumi-resource-command", {"main.version": workspace.version})


def _kubernetes_version(version: str) -> dict[str, str]:
    # The source has v0.0.0-master; charts compare the API server's version with those that they support.
    base = "k8s.io/component-base/version"
    major, minor, _ = version.split(".")
    known = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return {f"{base}.{name}": value for name, value in known.items()}


def _build_kube(workspace: BuildWorkspace) -> None:
    workspace.compile(".", "kube", _kubernetes_version(workspace.version))


def _build_node(workspace: BuildWorkspace) -> None:
    workspace.compile("./labnode", "labnode", _kubernetes_version(workspace.version))
    workspace.compile("./labrunc", "labrunc")


def _build_containerd(workspace: BuildWorkspace) -> None:
    version = {f"{CONTAINERD}/version.Version": f"v{workspace.version}"}
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        # Snapshotters that need devices, which a VM of the lab has not.
        workspace.compile(f"{CONTAINERD}/cmd/{name}", name, version, ("no_btrfs", "no_devmapper", "no_zfs"))


def _build_kubernetes(workspace: BuildWorkspace) -> None:
    upstream = workspace.module(KUBERNETES_PROVIDER) / "cmd" / "pulumi-resource-kubernetes"
    schema = json.loads((upstream / "schema.json").read_text())
    schema["version"] = workspace.version
    (workspace.source / "schema.json").write_text(json.dumps(schema))
    (workspace.source / "terraform-mapping.json").write_bytes((upstream / "terraform-mapping.json").read_bytes())
    # A constructor for each kind and version of Kubernetes: most of the build, and only the YAML and chart components, which
    # Lyceum does not use, call them.
    typed = "github.com/pulumi/pulumi-kubernetes/sdk/v4/..."
    version = {"main.version": workspace.version}
    workspace.compile(".", "pulumi-resource-kubernetes", version, unoptimized=typed)


def _build_proxmoxve(workspace: BuildWorkspace) -> None:
    # The bridge is compiled twice: first as a generator, whose schema and metadata the provider then embeds.
    version = {"lyceum/toolchain/proxmoxve.Version": workspace.version}
    metadata = workspace.source / "bridge-metadata.json"
    metadata.write_text("{}")
    workspace.compile("./cmd/tfgen", workspace.source / "tfgen", version)
    workspace.run(workspace.source / "tfgen", "schema", "--out", "generated")
    (workspace.source / "generated" / "bridge-metadata.json").replace(metadata)
    (workspace.source / "generated" / "schema.json").replace(
        workspace.source / "cmd" / "pulumi-resource-proxmoxve" / "schema.json"
    )
    workspace.compile("./cmd/pulumi-resource-proxmoxve", "pulumi-resource-proxmoxve", version)


def _plugin_release(name: str) -> Release:
    return Release(
        archive=f"https://get.pulumi.com/releases/plugins/pulumi-resource-{name}-v{{version}}-linux-{{amd64}}.tar.gz",
        checksums=f"https://github.com/pulumi/pulumi-{name}/releases/download/v{{version}}/"
        f"pulumi-{name}_{{version}}_checksums.txt",
    )


def controller_program(
    name: str,
    path: str,
    build: Callable[[BuildWorkspace], None],
    binaries: tuple[str, ...],
    cold_minutes: float,
    *,
    sources: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
) -> Program:
    """A program inside pods of the lab: `path` is its Go module, pinned in `toolchain/controllers/<name>/go.mod`.

    Args:
        name: Its name, and that of the directory.
        path: Path of its Go module.
        build: Its recipe.
        binaries: What the recipe makes.
        cold_minutes: As in Program.
        sources: As in Program.
        data: As in Program; `{version}` is that of the module.
    """
    module = f"controllers/{name}"
    version = pinned_module(module, path)
    return Program(
        name=name,
        version=version,
        module=module,
        sources=sources,
        binaries=binaries,
        data=tuple(one.format(version=version) for one in data),
        build=build,
        cold_minutes=cold_minutes,
        part="controllers",
    )


def programs() -> tuple[Program, ...]:
    """All programs in build order: the engine first, the largest last; then the controllers of the lab."""
    from toolchain.controller_programs import controller_programs  # noqa: PLC0415  # its records are of this module
    from toolchain.monitoring_programs import monitoring_programs  # noqa: PLC0415  # here too

    return (
        Program(
            name="pulumi",
            version=pinned_requirement("pulumi"),
            module="engine",
            sources=("langhost",),
            binaries=("pulumi", "pulumi-language-python", "pulumi-language-python-exec"),
            build=_build_pulumi,
            cold_minutes=2.5,
            release=Release(
                archive="https://get.pulumi.com/releases/sdk/pulumi-v{version}-linux-{x64}.tar.gz",
                checksums="https://github.com/pulumi/pulumi/releases/download/v{version}/"
                "pulumi-{version}-checksums.txt",
            ),
        ),
        Program(
            name="command",
            version=pinned_requirement("pulumi-command"),
            module="engine",
            sources=("command",),
            binaries=("pulumi-resource-command",),
            build=_build_command,
            cold_minutes=0.2,
            release=_plugin_release("command"),
        ),
        Program(
            name="kube",
            version=pinned_module("controlplane", "k8s.io/kubernetes"),
            module="controlplane",
            sources=("main.go",),
            binaries=("kube",),
            build=_build_kube,
            cold_minutes=3,
        ),
        Program(
            name="kwok",
            version=pinned_module("kwok", "sigs.k8s.io/kwok"),
            module="kwok",
            sources=(),
            binaries=("kwok",),
            build=lambda workspace: workspace.compile("sigs.k8s.io/kwok/cmd/kwok", "kwok"),
            cold_minutes=0.7,
        ),
        Program(
            name="proxmoxve",
            version=pinned_requirement("pulumi-proxmoxve"),
            module="proxmoxve",
            sources=("provider.go", "cmd", "stub"),
            binaries=("pulumi-resource-proxmoxve",),
            build=_build_proxmoxve,
            cold_minutes=1.5,
            release=Release(
                archive="https://github.com/muhlba91/pulumi-proxmoxve/releases/download/v{version}/"
                "pulumi-resource-proxmoxve-v{version}-linux-{amd64}.tar.gz",
                checksums="https://github.com/muhlba91/pulumi-proxmoxve/releases/download/v{version}/"
                "pulumi-proxmoxve_{version}_checksums.txt",
            ),
        ),
        Program(
            name="kubernetes",
            version=pinned_requirement("pulumi-kubernetes"),
            module="kubernetes",
            sources=("main.go",),
            binaries=("pulumi-resource-kubernetes",),
            build=_build_kubernetes,
            cold_minutes=3.5,
            release=_plugin_release("kubernetes"),
        ),
        Program(
            name="node",
            version=pinned_module("node", "k8s.io/kubernetes"),
            module="node",
            sources=("labnode", "labrunc"),
            binaries=("labnode", "labrunc"),
            build=_build_node,
            cold_minutes=0.5,
            part="pods",
        ),
        Program(
            name="containerd",
            version=pinned_module("containerd", CONTAINERD),
            module="containerd",
            sources=(),
            binaries=("containerd", "containerd-shim-runc-v2", "ctr"),
            build=_build_containerd,
            cold_minutes=1,
            part="pods",
        ),
        Program(
            name="coredns",
            version=pinned_module("coredns", "github.com/coredns/coredns"),
            module="coredns",
            sources=("main.go",),
            binaries=("coredns",),
            build=lambda workspace: workspace.compile(".", "coredns"),
            cold_minutes=0.7,
            part="pods",
        ),
        *controller_programs(),
        *monitoring_programs(),
    )
