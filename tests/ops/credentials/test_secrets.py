"""Secrets are read, validated, stored where the site names it, and never shown."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from config.errors import LyceumError
from config.load import load_site
from ops.__main__ import app
from ops.credentials.secrets import validate_secret

RUNNER = CliRunner()
CANARY = "canary@pve!canary=0badc0de-0000-4000-8000-000000000000"


@pytest.fixture(name="project")
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one stack whose secrets are files."""
    monkeypatch.setattr("ops.credentials.secrets.PROJECT", tmp_path)
    monkeypatch.setattr("ops.engine.stack.PROJECT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  lyceum:site: lab\n  lyceum:stage: alpha\n")
    return tmp_path


def test_a_secret_with_a_file_is_written_with_mode_0600(project: Path) -> None:
    result = RUNNER.invoke(app, ["secrets", "set", "lab", "proxmox-token"], input=CANARY + "\n")
    assert result.exit_code == 0, result.output
    file = project / load_site("lab").secrets["proxmox-token"].file
    assert file.read_text() == CANARY + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert CANARY not in result.output


def test_an_invalid_value_is_refused_and_not_printed(project: Path) -> None:
    result = RUNNER.invoke(app, ["secrets", "set", "lab", "proxmox-token"], input="hunter2\n")
    assert result.exit_code == 1
    assert "user@realm!name=uuid" in result.output
    assert "hunter2" not in result.output


def test_an_unknown_secret_is_refused(project: Path) -> None:
    result = RUNNER.invoke(app, ["secrets", "set", "lab", "slack-webhook"], input="https://x\n")
    assert result.exit_code == 2
    assert "it needs seed, proxmox-token, s3-access-key" in result.output


def test_generate_creates_missing_secrets_and_keeps_existing_ones(project: Path) -> None:
    """All credentials of a stack derive from its seed: a second one would lock everybody out."""
    file = project / load_site("lab").secrets["seed"].file
    assert RUNNER.invoke(app, ["secrets", "generate", "lab"]).exit_code == 0
    first = file.read_text()
    assert len(first.strip()) == 64
    assert RUNNER.invoke(app, ["secrets", "generate", "lab"]).exit_code == 0
    assert file.read_text() == first


def test_list_shows_missing_secrets_and_exits_with_one(project: Path) -> None:
    RUNNER.invoke(app, ["secrets", "generate", "lab"])
    result = RUNNER.invoke(app, ["secrets", "list", "lab", "--json"])
    assert result.exit_code == 1
    rows = {row["name"]: row["where"] for row in json.loads(result.output)}
    missing = dict.fromkeys(("proxmox-token", "s3-access-key", "s3-secret-key", "oidc-client-secret"))
    assert rows == {"seed": str(load_site("lab").secrets["seed"].file), **missing}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "xyz"),
        ("seed", "ab" * 31),
        ("proxmox-token", "lyceum@pve!lyceum"),
        ("certificate-key", "-----BEGIN CERTIFICATE-----\nx"),
        ("slack-webhook", "http://hooks.slack.com/x"),
        ("smtp-password", "   "),
        ("smtp-password", "two\nlines"),
    ],
)
def test_an_invalid_secret_is_refused_with_its_format(name: str, value: str) -> None:
    with pytest.raises(LyceumError, match=f"this is not a valid {name}"):
        validate_secret(name, value)


@pytest.mark.engine
def test_a_secret_without_a_file_is_encrypted_in_the_stack_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real engine: the committed file holds ciphertext only."""
    monkeypatch.setattr("ops.engine.engine.PROJECT", project)
    monkeypatch.setenv("PULUMI_BACKEND_URL", (project / "state").as_uri())
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "a passphrase of the test")
    (project / "Pulumi.yaml").write_text("name: lyceum\nruntime: python\n")
    (project / "Pulumi.hpc.yaml").write_text("config:\n  lyceum:site: hpc-course\n  lyceum:stage: alpha\n")
    result = RUNNER.invoke(app, ["secrets", "set", "hpc-course", "proxmox-token"], input=CANARY)
    assert result.exit_code == 0, result.output
    written = (project / "Pulumi.hpc.yaml").read_text()
    assert "secure: v1:" in written
    assert CANARY not in written + result.output
    listed = RUNNER.invoke(app, ["secrets", "list", "hpc-course", "--json"])
    rows = {row["name"]: row["where"] for row in json.loads(listed.output)}
    assert rows["proxmox-token"] == "Pulumi.hpc.yaml, encrypted"
