"""A newcomer's way on the embedded campus: init, validate, prepare, doctor, preview; and, as the slow proof, up."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.paths import PROJECT

ROOMS = ("config", "components", "lab", "ops", "toolchain")
FILES = ("__main__.py", "Pulumi.yaml", "lyceum")


class Newcomer:
    """A copy of the project, so that a new site and its lab disturb nobody."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for room in ROOMS:
            shutil.copytree(PROJECT / room, home / room, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            shutil.copy2(PROJECT / file, home / file)
        for tools in (".venv", ".toolchain"):
            (home / tools).symlink_to((PROJECT / tools).resolve())
        (home / "Pulumi.first.yaml").write_text("config:\n  lyceum:site: first\n  lyceum:stage: alpha\n")

    def does(self, *words: str, says: str = "") -> str:
        """Runs `./lyceum` and returns what it prints; a failure shows everything."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "LYCEUM_"))}
        done = subprocess.run(
            [self.home / "lyceum", *words],
            cwd=self.home,
            env=environment | {"LYCEUM_LAB": "first", "COLUMNS": "200"},
            input=says,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"lyceum {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def root_password(self) -> str:
        return (self.home / ".lyceum/lab/first/root-password").read_text()


@pytest.fixture(name="newcomer", scope="module")
def _newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    newcomer = Newcomer(tmp_path_factory.mktemp("home") / "lyceum")
    newcomer.does("lab", "up", "--name", "first", "--real", "none")
    try:
        newcomer.does("init", "first", "--lab", "first", "--yes", "-a", "domain=first.lyceum.internal")
        yield newcomer
    finally:
        newcomer.does("lab", "down", "--name", "first")


@pytest.mark.lab
def test_the_first_site_is_sound(newcomer: Newcomer) -> None:
    assert "first: no mistakes" in newcomer.does("validate", "first")


@pytest.mark.lab
def test_the_doctor_finds_nothing_once_proxmox_is_prepared(newcomer: Newcomer) -> None:
    newcomer.does("proxmox", "prepare", "first", "--apply", says=newcomer.root_password)
    reported = newcomer.does("doctor", "first", "--user", "root@pam", says=newcomer.root_password + "\n")
    assert "every card is where the site file says, and alone in its IOMMU group" in reported
    assert newcomer.root_password not in reported


@pytest.mark.lab
def test_the_first_site_previews_as_a_whole(newcomer: Newcomer) -> None:
    newcomer.does("proxmox", "prepare", "first", "--apply", says=newcomer.root_password)
    reported = newcomer.does("preview", "first")
    assert "gpu-1-vm" in reported
    assert "jupyterhub" in reported


@pytest.mark.lab
@pytest.mark.strict
def test_the_first_site_comes_up(newcomer: Newcomer) -> None:
    newcomer.does("proxmox", "prepare", "first", "--apply", says=newcomer.root_password)
    newcomer.does("up", "first", "--yes")
    assert "https://10.21.0.30:6443" in newcomer.does("status", "first")
