"""`validate` and `show` as people call them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from config.errors import UsageError
from config.paths import SITES
from ops.__main__ import app

RUNNER = CliRunner()


def test_validate_is_silent_about_a_sound_site_but_for_one_line() -> None:
    result = RUNNER.invoke(app, ["validate", "lab"])
    assert result.exit_code == 0
    assert "lab: no mistakes" in result.output


def test_validate_names_the_sites_when_none_is_given() -> None:
    result = RUNNER.invoke(app, ["validate"])
    assert result.exit_code == 2
    assert "forty-workstations" in result.output


def test_validate_ends_with_one_and_a_line_for_each_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ops.site.validate.SITES", tmp_path)
    (tmp_path / "lab.yaml").write_text(
        (SITES / "lab.yaml").read_text().replace("gateway: 10.21.0.1", "gatway: 10.21.0.1")
    )
    result = RUNNER.invoke(app, ["validate", "lab", "--json"])
    assert result.exit_code == 1
    (problem,) = json.loads(result.output)
    assert problem["remedy"] == "did you mean `gateway`?"
    assert problem["line"] == 17


def test_validate_tells_what_is_only_kept() -> None:
    """Nobody should believe in a tunnel that nothing builds."""
    result = RUNNER.invoke(app, ["validate", "esports-night"])
    assert "platform.tunnel: checked and kept; nothing reads it yet" in result.output


@pytest.mark.parametrize("site", sorted(path.stem for path in SITES.glob("*.yaml")))
def test_show_tells_the_machines_of_a_stage_with_the_source_of_every_value(site: str) -> None:
    result = RUNNER.invoke(app, ["show", site, "--stage", "alpha", "--json"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert {value["source"] for values in shown["machines"].values() for value in values} <= {
        "given",
        "default",
        "derived",
    }
    assert all(value["line"] for value in shown["settings"] if value["source"] == "given")


def test_show_reads_well_for_people() -> None:
    result = RUNNER.invoke(app, ["show", "a100-host"])
    assert result.exit_code == 0, result.output
    assert "k3s-wk-gpu2" in result.output
    assert "network.search" in result.output


def test_brackets_in_a_message_are_text_and_not_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gpu-[first-last]` and `nodes[0]` stand in many messages; the console must not swallow them."""

    def refuse(*_: object) -> None:
        raise UsageError("write [first-last], not [/] or [bold]")

    monkeypatch.setattr("ops.site.show.effective_values", refuse)
    result = RUNNER.invoke(app, ["show", "lab"])

    assert "write [first-last], not [/] or [bold]" in result.stderr
    assert result.exit_code == 2
