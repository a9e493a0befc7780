"""Units on a disk: found, enabled, disabled."""

from pathlib import Path

import pytest

from lab.host.guest.unit_files import UnitFiles
from lab.host.guest.units import UnitError

UNIT = "[Service]\nExecStart=/bin/sleep 1\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    directory = tmp_path / "etc/systemd/system"
    directory.mkdir(parents=True)
    (directory / "a.service").write_text(UNIT)
    return directory


def test_enabling_makes_the_target_want_the_unit_and_says_so_once(tmp_path: Path, etc: Path) -> None:
    files = UnitFiles(tmp_path)
    assert files.enable("a.service") == [
        "Created symlink /etc/systemd/system/multi-user.target.wants/a.service → /etc/systemd/system/a.service."
    ]
    assert files.enable("a.service") == [], "enabling twice changes nothing"
    assert files.enabled_units() == ["a.service"]


def test_disabling_takes_the_unit_out_of_the_boot(tmp_path: Path, etc: Path) -> None:
    files = UnitFiles(tmp_path)
    files.enable("a.service")
    files.disable("a.service")
    assert not files.enabled("a.service")


def test_a_units_own_file_in_etc_wins_over_the_distributions(tmp_path: Path, etc: Path) -> None:
    packaged = tmp_path / "usr/lib/systemd/system"
    packaged.mkdir(parents=True)
    (packaged / "a.service").write_text("[Service]\nExecStart=/bin/false\n")
    assert UnitFiles(tmp_path).load("a.service").exec_start[0].words == ("/bin/sleep", "1")


def test_drop_ins_of_all_directories_apply_in_the_order_of_their_names(tmp_path: Path, etc: Path) -> None:
    for part, name, second in (("run/systemd/system", "20.conf", 2), ("etc/systemd/system", "10.conf", 1)):
        directory = tmp_path / part / "a.service.d"
        directory.mkdir(parents=True)
        (directory / name).write_text(f"[Service]\nRestartSec={second}\n")
    assert UnitFiles(tmp_path).load("a.service").restart_sec == 2.0


def test_an_unknown_unit_is_reported_in_systemds_words(tmp_path: Path, etc: Path) -> None:
    with pytest.raises(UnitError, match=r"Unit b\.service not found\."):
        UnitFiles(tmp_path).load("b.service")
