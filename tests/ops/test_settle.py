"""The engine's lock after a command was killed."""

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import typer

from ops import settle
from ops.engine import Engine


def locked(backend: Path, pid: int, host: str) -> Path:
    """A lock as the file backend writes it."""
    lock = backend / ".pulumi" / "locks" / "organization" / "lyceum" / "dev" / "one.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": pid, "hostname": host, "username": "ada", "timestamp": "today"}))
    return lock


def stack(backend: Path) -> Engine:
    environment = {"PULUMI_BACKEND_URL": f"file://{backend}"}
    return cast("Engine", SimpleNamespace(stack=SimpleNamespace(name="dev", environment=environment)))


def test_what_a_killed_command_still_asked_is_waited_for(tmp_path: Path) -> None:
    """Only the command was killed; the engine that it asked ends by itself a moment later."""
    with subprocess.Popen(["sleep", "1"]) as engine, ThreadPoolExecutor() as pool:
        lock = locked(tmp_path, engine.pid, socket.gethostname())
        pool.submit(engine.wait)
        settle._release_lock(stack(tmp_path))

    assert not lock.exists()


def test_a_lock_of_another_machine_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settle, "LAST_WORD_SECONDS", 0)
    lock = locked(tmp_path, 1, "elsewhere")
    with pytest.raises(typer.Exit):
        settle._release_lock(stack(tmp_path))

    assert lock.exists()
    assert "pulumi cancel --stack dev" in capsys.readouterr().err
