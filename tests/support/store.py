"""The lab's object store on a loopback address, for tests without a campus."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.services import S3
from lab import certificates, store
from lab.rundir import PROJECT, RunDir
from tests.support.ports import free_port

PATIENCE = 60
"""Seconds."""


@dataclass(frozen=True)
class Served:
    """A running store.

    Attributes:
        settings: As a site's file would give it.
        access_key: Its access key.
        secret_key: Its secret key.
        log: What it was asked.
    """

    settings: S3
    access_key: str
    secret_key: str
    log: Path


@contextmanager
def served(path: Path) -> Iterator[Served]:
    """Runs the store as the lab does: with a certificate of a CA of its own, keys, and the bucket `lyceum`."""
    run = RunDir(path)
    certificates.ensure_authority(run.ca, run.ca_key, "test")
    certificates.issue((run.ca, run.ca_key), ["s3"], ["127.0.0.1"], path / "server.pem", path / "server.key")
    store.ensure_keys(run)
    port = free_port()
    log = path / "store.log"
    with log.open("wb") as output:
        words = [str(path), "127.0.0.1", str(port), "lyceum", "us-east-1"]
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.store", *words], cwd=PROJECT, stdout=output, stderr=output
        )
    try:
        _wait(process, port, log)
        access, secret = ((path / name).read_text() for name in store.KEYS)
        settings = S3(endpoint=f"https://127.0.0.1:{port}", bucket="lyceum", ca_file=run.ca)
        yield Served(settings, access, secret, log)
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, f"the store ended:\n{log.read_text()}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the store does not answer:\n{log.read_text()}")
