"""Who may import whom: data flows hosts -> cluster -> platform -> workspaces, and only the program knows them all."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from config.paths import PROJECT
from config.resource_names import Part

SHARED = {"components.base", "components.handles", "components.layer", "components.gpu_resources"}
"""What layers have in common: a base class, what one hands to the next, and pure facts."""
OURS = {"components", "config", "lab", "ops", "toolchain", "bench", "tests"}
DOORS = {
    "components.proxmox.client",
    "components.hosts.vm",
    "components.cluster.snapshot_access",
    "components.cluster.bootstrap",
    "components.cluster.k3s_config",
    "components.workspaces.profiles",
    "components.gpu_resources",
}
"""What the command line reads of the components: names, pure facts, and how Proxmox is asked; never a resource."""

MAY = {
    "config": {"config"},
    "components/base.py": set[str](),
    "components/handles.py": {"config"},
    # A layer stands on the cluster: it asks a server whether a webhook answers.
    "components/layer.py": {
        "components.base",
        "components.handles",
        "components.cluster.ssh",
        "components.cluster.webhooks",
        "config",
    },
    "components/gpu_resources.py": {"config"},
    "components/proxmox": {"components.proxmox", "config.errors"},
    "components/hosts": {"components.hosts", "components.proxmox", "components.base", "components.handles", "config"},
    "components/cluster": {"components.cluster", "components.base", "components.handles", "config"},
    "components/platform": {"components.platform", *SHARED, "config"},
    "components/workspaces": {"components.workspaces", *SHARED, "config"},
    "components/tenants": {"components.tenants", *SHARED, "config"},
    "ops": {"ops", "config", "lab", "toolchain", *DOORS},
    "lab": {"lab", "config", "toolchain"},
    "toolchain": {"toolchain", "config.errors"},
}
"""Part of the project -> which of our own modules it may import. What is not named here may import nothing of ours."""

PROVIDERS = {
    "pulumi_proxmoxve": {"components/hosts", "__main__.py"},
    "pulumi_command.local": {"components/hosts"},
    "pulumi_command.remote": {"components/cluster"},
    "pulumi_kubernetes": {
        "components/layer.py",
        "components/platform",
        "components/workspaces",
        "components/tenants",
        "__main__.py",
    },
}
"""Package of resources -> where its resources are declared. A layer that needs another one is in the wrong place."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, anywhere in it; `from a import b` counts as `a.b`."""
    for statement in ast.walk(tree(path)):
        match statement:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0) if module:
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom(level=level) if level:
                yield f"{path}: relative"
            case _:
                pass


def within(module: str, allowed: set[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in allowed)


def files(*parts: str) -> list[Path]:
    roots = [PROJECT / part for part in parts]
    found = [path for root in roots for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))]
    return [path for path in found if path.exists()]


def place(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


EVERYTHING = files("__main__.py", "components", "config", "lab", "ops", "toolchain")


@pytest.mark.parametrize("part", MAY)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    wrong = [
        f"{place(path)} imports {module}"
        for path in files(part)
        for module in imports(path)
        if module.partition(".")[0] in OURS and not within(module, MAY[part])
    ]

    assert wrong == [], "pass a value down instead, or move what both need to components/{base,handles,layer}.py"


def test_every_part_of_components_has_its_rule() -> None:
    """A new layer must not start without one."""
    parts = {
        place(path) for path in (PROJECT / "components").iterdir() if path.name not in {"__init__.py", "__pycache__"}
    }

    assert parts <= MAY.keys()


@pytest.mark.parametrize("package", PROVIDERS)
def test_a_provider_is_used_only_in_its_layers(package: str) -> None:
    wrong = [
        f"{place(path)} imports {module}"
        for path in EVERYTHING
        for module in imports(path)
        if within(module, {package}) and not place(path).startswith(tuple(PROVIDERS[package]))
    ]

    assert wrong == []


def test_command_is_never_imported_as_a_whole() -> None:
    """Its two halves belong to two layers, and only the name in the import tells them apart."""
    assert [place(path) for path in EVERYTHING if "pulumi_command" in set(imports(path))] == []


def test_only_load_and_secrets_know_the_stacks_configuration() -> None:
    """Two readers of one value drift apart; `config/load.py` reads, everybody else is handed."""
    readers = [
        place(path)
        for path in EVERYTHING
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr == "Config" and ast.unparse(node.value) == "pulumi"
    ]

    assert set(readers) == {"config/load.py", "config/secrets.py"}


def test_settings_know_nothing_of_pulumi() -> None:
    """A site file is checked by the command line, the editor and the lab, which have no engine."""
    knowing = {
        place(path) for path in files("config") for module in imports(path) if module.partition(".")[0] == "pulumi"
    }

    assert knowing == {"config/load.py", "config/secrets.py"}


def test_only_config_reads_the_files_of_a_site_and_asks_for_the_stack() -> None:
    """Components get values; the only files that they read are their own scripts, which lie beside them."""
    programs = {"components/cluster/snapshot_copies.py", "components/proxmox/client.py"}
    reading = [
        f"{place(path)}: {line.strip()}"
        for path in files("__main__.py", "components")
        if place(path) not in programs
        for line in path.read_text().splitlines()
        if "get_stack(" in line or ("read_text(" in line and "__file__" not in line)
    ]

    assert reading == []


def test_only_the_program_knows_more_than_one_layer() -> None:
    layers = {"components.hosts", "components.cluster", "components.platform", "components.workspaces"}
    known = {
        place(path): {layer for layer in layers for module in imports(path) if within(module, {layer})}
        for path in files("__main__.py", "components")
    }

    assert known["__main__.py"] == layers
    assert [path for path, found in known.items() if len(found) > 1] == ["__main__.py"]


@pytest.mark.parametrize(
    ("helper", "ours"),
    [
        ("components/proxmox/client.py", {"config.errors"}),
        ("components/cluster/snapshot_copies.py", set[str]()),
        ("toolchain/environment.py", {"config.errors", "toolchain.parts"}),
        ("config/errors.py", set[str]()),
        ("config/__init__.py", set[str]()),
    ],
)
def test_what_runs_without_our_packages_needs_nothing_but_python(helper: str, ours: set[str]) -> None:
    """The machine's own `python3` runs these, on machines that have no virtual environment of ours."""
    foreign = [
        module
        for module in imports(PROJECT / helper)
        if module.partition(".")[0] not in sys.stdlib_module_names and not within(module, ours)
    ]

    assert foreign == []


def test_names_of_resources_that_are_looked_up_again_are_put_together_in_one_place() -> None:
    """A suffix that is spelled in a component and again in a command drifts apart unnoticed."""
    spelled = re.compile(rf"\}}-({'|'.join(map(re.escape, Part))})\"")
    wrong = [place(path) for path in files("__main__.py", "components", "ops") if spelled.search(path.read_text())]

    assert wrong == [], "use config.resource_names.resource_name"


def test_only_the_state_itself_knows_how_the_engine_exports_it() -> None:
    readers = [place(path) for path in files("ops") if '"deployment"' in path.read_text()]

    assert readers == ["ops/engine/pulumi_state.py"]
