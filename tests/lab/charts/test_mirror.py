"""The mirror over HTTP: charts, K3s and images at the addresses that the rest of Lyceum uses."""

import asyncio
import hashlib
import json
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from lab.charts import create_app, image_checksum


class Mirror:
    """Asks the application without a socket."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def ask(self, method: str, path: str) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://mirror") as client:
                return await client.request(method, path)

        return asyncio.run(send())

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", path)


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(create_app(tmp_path))


def test_the_index_and_its_archives_are_served(mirror: Mirror) -> None:
    assert "metallb-0.16.1.tgz" in mirror.get("/charts/index.yaml").text
    assert mirror.get("/charts/metallb-0.16.1.tgz").content[:2] == b"\x1f\x8b", "a chart archive is a gzip file"


@pytest.mark.parametrize("version", ["v1.36.4+k3s1", "v1.36.4%2Bk3s1"])
def test_the_k3s_checksum_file_holds_the_digest_of_what_is_served(mirror: Mirror, version: str) -> None:
    binary = mirror.get(f"/k3s/{version}/k3s").content
    listed = mirror.get(f"/k3s/{version}/sha256sum-amd64.txt").text
    assert listed == f"{hashlib.sha256(binary).hexdigest()}  k3s\n"


def test_an_image_keeps_its_checksum_and_is_recognised_as_qcow2(mirror: Mirror) -> None:
    data = mirror.get("/images/ubuntu-24.04.qcow2").content
    assert hashlib.sha512(data).hexdigest() == image_checksum("ubuntu-24.04.qcow2")
    assert data[:4] == b"QFI\xfb"
    assert mirror.ask("HEAD", "/images/ubuntu-24.04.qcow2").headers["content-length"] == str(len(data))


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/charts/metalb-0.16.1.tgz", "metallb-0.16.1.tgz"),
        ("/k3s/latest/k3s", "v1.36.4+k3s1"),
        ("/k3s/v1.36.4+k3s1/x", "k3s"),
    ],
)
def test_what_is_missing_is_answered_with_what_there_is(mirror: Mirror, path: str, known: str) -> None:
    answer = mirror.get(path)
    assert answer.status_code == 404
    assert known in answer.text


def test_every_request_is_logged_with_its_result(mirror: Mirror, tmp_path: Path) -> None:
    size = len(mirror.get("/charts/index.yaml").content)
    mirror.get("/charts/nothing.tgz")
    lines = (tmp_path / "log" / "mirror-requests.jsonl").read_text().splitlines()
    found, missing = (json.loads(line) for line in lines)
    assert (found["path"], found["status"], found["bytes"]) == ("/charts/index.yaml", 200, size)
    assert (missing["path"], missing["status"]) == ("/charts/nothing.tgz", 404)
