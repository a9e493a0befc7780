"""Of every effective value it is known where it comes from."""

from pathlib import Path

import pytest

from config.provenance import EffectiveValue, trace_gpus, trace_machines, trace_settings
from config.validate import ValidationResult, validate_file

CAMPUS = Path(__file__).parent / "campus.yaml"


@pytest.fixture(name="checked", scope="module")
def _checked() -> ValidationResult:
    return validate_file(CAMPUS)


@pytest.fixture(name="known", scope="module")
def _known(checked: ValidationResult) -> dict[str, EffectiveValue]:
    assert checked.site
    assert checked.document
    return {value.path: value for value in trace_settings(checked.site, checked.document)}


def test_a_given_value_names_its_line(known: dict[str, EffectiveValue]) -> None:
    value = known["network.gateway"]
    line = CAMPUS.read_text().splitlines()[(value.line or 0) - 1]
    assert (value.source, line.strip()) == ("given", "gateway: 10.50.0.1")


def test_a_default_says_so_and_is_written_as_people_write_it(known: dict[str, EffectiveValue]) -> None:
    value = known["workspaces.jupyterhub.home"]
    assert (value.value, value.source_text) == ("10 GiB", "default")


def test_a_derived_value_names_what_it_follows_from(known: dict[str, EffectiveValue]) -> None:
    assert (known["network.search"].value, known["network.search"].source_text) == ("lab.campus.edu", "from domain")


def test_what_nothing_reads_yet_is_marked(known: dict[str, EffectiveValue]) -> None:
    assert known["tenants[0].name"].planned
    assert not known["network.gateway"].planned


def test_a_machines_numbers_follow_from_its_address_and_a_given_one_does_not(checked: ValidationResult) -> None:
    assert checked.site
    assert checked.document
    values = {value.path: value for value in trace_machines(checked.site, checked.document, "all")["gpu-2"]}
    assert values["gpu-2.mac"].source_text == "from address"
    assert values["gpu-2.vm-id"].value == str(100_000 + 256 + 2)
    assert values["gpu-2.memory"].source_text == "from shapes.gpu"
    assert values["gpu-2.gpus"].source == "given"


def test_a_stage_shows_only_what_is_in_service(checked: ValidationResult) -> None:
    assert checked.site
    assert checked.document
    alpha = trace_machines(checked.site, checked.document, "alpha")
    assert {"gpu-1", "gpu-2"} <= set(alpha)
    assert "gpu-3" not in alpha


def test_gpus_are_counted_by_kind(checked: ValidationResult) -> None:
    assert checked.site
    found = {value.path: value.value for value in trace_gpus(checked.site, "all")}
    assert found == {"a100-40gb": "3", "a100-40gb/1g.5gb": "21", "rtx-4090": "3"}
