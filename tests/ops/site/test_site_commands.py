"""`validate` and `show` as people call them."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from config.errors import UsageError
from config.paths import SITES
from config.validate import validate_file
from ops.__main__ import app
from ops.site.show import effective_values, machine_blocks, value_tables

RUNNER = CliRunner()


def test_a_valid_site_gives_one_line(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text((SITES / "lab.yaml").read_text().replace("scratch: 500 GiB, ", ""))
    result = RUNNER.invoke(app, ["validate", str(file)])
    assert result.exit_code == 0
    assert result.output == "✓ lab: no mistakes\n"


def test_validate_lists_the_sites_when_none_is_given() -> None:
    result = RUNNER.invoke(app, ["validate"])
    assert result.exit_code == 2
    assert "forty-workstations" in result.output


def test_validate_exits_with_one_and_prints_a_line_for_each_mistake(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text((SITES / "lab.yaml").read_text().replace("gateway: 10.21.0.1", "gatway: 10.21.0.1"))
    result = RUNNER.invoke(app, ["validate", str(file), "--json"])
    assert result.exit_code == 1
    (finding,) = json.loads(result.output)
    assert finding["remedy"] == "did you mean `gateway`?"
    assert finding["line"] == 17


@pytest.mark.parametrize("command", [["validate"], ["show"], ["proxmox", "prepare"]])
@pytest.mark.parametrize("path", [f"{SITES}/lab.yaml", os.path.relpath(SITES / "lab.yaml")])
def test_a_site_can_be_given_by_the_path_of_its_file(command: list[str], path: str) -> None:
    result = RUNNER.invoke(app, [*command, path])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", [["validate"], ["show"], ["secrets", "list"], ["proxmox", "prepare"]])
def test_a_misspelt_site_is_answered_with_the_closest_name(command: list[str]) -> None:
    result = RUNNER.invoke(app, [*command, "labb"])
    assert result.exit_code == 1
    assert "config/sites/labb.yaml: does not exist; did you mean `lab`?" in result.output


def test_a_site_unlike_any_other_is_answered_with_the_command_that_makes_one() -> None:
    assert "`./lyceum init` writes a first one" in RUNNER.invoke(app, ["validate", "nowhere"]).output


@pytest.mark.parametrize("command", [["validate", "esports-night"], ["validate", "--all"], ["show", "esports-night"]])
def test_settings_without_effect_are_reported_and_the_last_line_is_no_success(command: list[str]) -> None:
    """A setting that nothing reads must not look as if it worked."""
    result = RUNNER.invoke(app, command)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert any("platform.tunnel" in line and "has no effect yet" in line for line in lines if line.startswith("! "))
    assert lines[-1].startswith("! ")
    assert "no effect yet" in lines[-1]
    assert "✓" not in result.output


@pytest.mark.parametrize("site", sorted(path.stem for path in SITES.glob("*.yaml")))
def test_show_gives_the_source_of_every_value(site: str) -> None:
    result = RUNNER.invoke(app, ["show", site, "--stage", "alpha", "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert {value["source"] for values in shown["machines"].values() for value in values} <= {
        "given",
        "default",
        "derived",
    }
    assert all(value["line"] for value in shown["settings"] if value["source"] == "given")


def test_show_lists_machines_and_settings() -> None:
    result = RUNNER.invoke(app, ["show", "a100-host"])
    assert result.exit_code == 0, result.output
    assert "k3s-wk-gpu2" in result.output
    assert "10.21.0.43" in result.output


def rendered(blocks: Sequence[RenderableType], width: int) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width)
    for block in blocks:
        console.print(block)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def shown(site: str) -> dict[str, Any]:
    result = validate_file(SITES / f"{site}.yaml")
    assert result.site
    assert result.document
    return effective_values(result.site, result.document, "all")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("site", sorted(path.stem for path in SITES.glob("*.yaml")))
def test_show_fits_the_terminal_and_breaks_only_long_values(site: str, width: int) -> None:
    found = shown(site)
    settings = rendered(value_tables(found["settings"], width), width)
    machines = rendered(machine_blocks(found["machines"], width), width)

    assert all(len(line) <= width for line in (*settings, *machines))
    short = [value for value in found["settings"] if len(value.value) <= 25]
    assert [value.path for value in short if not any(value.value in line for line in settings)] == []


def test_settings_are_grouped_by_section_where_the_terminal_is_narrow() -> None:
    lines = rendered(value_tables(shown("lab")["settings"], 80), 80)

    assert lines[lines.index("platform.storage.ceph.pool") + 1].split() == ["replicas", "2", "line", "48"]
    assert lines.count("network") == 1, "also where other sections lie between two of its settings"


def test_settings_have_their_paths_where_the_terminal_is_wide() -> None:
    lines = rendered(value_tables(shown("lab")["settings"], 200), 200)

    assert any(line.split() == ["platform.storage.ceph.pool.replicas", "2", "line", "48"] for line in lines)


def test_a_machine_is_a_block_of_lines_where_the_terminal_is_narrow() -> None:
    lines = rendered(machine_blocks(shown("a100-host")["machines"], 80), 80)
    start = lines.index("k3s-wk-gpu1")

    assert lines[start + 1 : start + 4] == [
        "  role worker  host pve-a100  address 10.21.0.38  mac 00:16:3e:63:79:29",
        "  vm-id 100038 ←  cores 48 ←  memory 128 GiB ←",
        "  gpu a100-40gb at 0000:01:00.0 (mig)  gpu a100-40gb at 0000:25:00.0 (mig)",
    ]


def test_a_machine_is_a_row_with_a_line_for_each_gpu_where_the_terminal_is_wide() -> None:
    lines = rendered(machine_blocks(shown("a100-host")["machines"], 160), 160)
    [row] = [number for number, line in enumerate(lines) if line.startswith("k3s-wk-gpu1")]

    assert lines[0].split()[:3] == ["name", "role", "host"]
    assert lines[row].endswith("a100-40gb at 0000:01:00.0 (mig)")
    assert lines[row + 1].strip() == "a100-40gb at 0000:25:00.0 (mig)"


def test_brackets_in_a_message_are_text_and_not_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gpu-[first-last]` and `nodes[0]` stand in many messages; the console must not swallow them."""

    def refuse(*_: object) -> None:
        raise UsageError("write [first-last], not [/] or [bold]")

    monkeypatch.setattr("ops.site.show.effective_values", refuse)
    result = RUNNER.invoke(app, ["show", "lab"])

    assert "write [first-last], not [/] or [bold]" in result.stderr
    assert result.exit_code == 2
