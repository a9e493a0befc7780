"""Official releases: taken only whole, and only if the published checksum agrees."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from config.errors import LyceumError
from toolchain import download
from toolchain.console import Step
from toolchain.programs import BuildWorkspace, Program, Release


def nothing(shop: BuildWorkspace) -> None:
    """A recipe that is never used."""


class Shelf:
    """A release server on the loopback interface: paths and their content; anything else is refused."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.front_door = 200
        shelf = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = shelf.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def do_HEAD(self) -> None:
                self.send_response(shelf.front_door)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    shelf = Shelf()
    yield shelf
    shelf.server.shutdown()
    shelf.server.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def tarball(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"pulumi/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def offered(shelf: Shelf, archive: bytes, digest: str | None = None) -> Program:
    shelf.files["/tool-v1.0.tar.gz"] = archive
    shelf.files["/sums"] = f"{digest or hashlib.sha256(archive).hexdigest()}  tool-v1.0.tar.gz\n".encode()
    release = Release(archive=f"{shelf.url}/tool-v{{version}}.tar.gz", checksums=f"{shelf.url}/sums")
    return Program(
        name="tool",
        version="1.0",
        module="kwok",
        sources=(),
        binaries=("tool",),
        build=nothing,
        cold_minutes=1,
        release=release,
    )


def fetch(program: Program, into: Path) -> str:
    assert program.release
    return download.download_release(program, program.release, into, Step("tool", None))


def test_a_release_with_its_published_checksum_is_unpacked(shelf: Shelf, tmp_path: Path) -> None:
    origin = fetch(offered(shelf, tarball(tool=b"#!", other=b"x")), tmp_path / "results")
    assert origin == f"{shelf.url}/tool-v1.0.tar.gz"
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["tool"], "only what the program consists of"


def test_a_release_with_another_checksum_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(download.UnavailableError, match="not the published one"):
        fetch(offered(shelf, tarball(tool=b"#!"), digest="0" * 64), tmp_path / "results")


def test_a_release_without_a_published_checksum_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    program = offered(shelf, tarball(tool=b"#!"))
    shelf.files["/sums"] = b"0000  another-file\n"
    with pytest.raises(download.UnavailableError, match=r"no published checksum for tool-v1\.0\.tar\.gz"):
        fetch(program, tmp_path / "results")


def test_a_release_that_is_not_there_is_unavailable(shelf: Shelf, tmp_path: Path) -> None:
    program = offered(shelf, tarball(tool=b"#!"))
    del shelf.files["/tool-v1.0.tar.gz"]
    with pytest.raises(download.UnavailableError, match="404"):
        fetch(program, tmp_path / "results")


def test_a_release_that_lacks_a_binary_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(download.UnavailableError, match="lacks tool"):
        fetch(offered(shelf, tarball(other=b"x")), tmp_path / "results")


@pytest.mark.parametrize(("status", "open_"), [(200, True), (404, True), (403, False), (503, False)])
def test_a_server_is_reachable_unless_something_on_the_way_refuses(shelf: Shelf, status: int, open_: bool) -> None:
    shelf.front_door = status
    assert download.is_reachable(Release(archive=f"{shelf.url}/x", checksums="")) is open_


def test_nobody_there_is_a_refusal() -> None:
    assert not download.is_reachable(Release(archive="http://127.0.0.1:9/x", checksums=""))


def test_downloads_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_DOWNLOAD", "never")
    assert not download.is_allowed()


def test_a_misspelt_switch_is_refused_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_DOWNLOAD", "no")
    with pytest.raises(LyceumError, match=r"auto .* or never"):
        download.is_allowed()


def test_checksum_files_of_both_habits_are_read() -> None:
    assert download.find_checksum("ABC  one.tar.gz\ndef *two.tar.gz\n", "two.tar.gz") == "def"
