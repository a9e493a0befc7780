"""What containerd itself says of the lab's images: imported once, copied by links, pulled from the registry."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from lab.images import build, store
from lab.images.build import Built, available, build_layers
from lab.images.recipes import Image
from lab.images.registry import build_server, create_app
from toolchain import parts
from toolchain.images.archive import Entry
from toolchain.images.layers import Layer

pytestmark = pytest.mark.lab
HELLO, OTHER = "quay.io/campus/hello:3", "docker.io/library/other:1"


class Greeting(Layer):
    name = "greeting"

    def ingredients(self) -> Iterable[str | bytes]:
        return ["hello"]

    def entries(self, scratch: Path) -> Iterable[Entry]:
        yield Entry("/usr/bin/hello", b"#!/bin/sh\necho hello\n")
        yield Entry("/home/jovyan", owner=(1000, 100))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    parts.ensure("pods")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        offered = (Image(names=(HELLO,), layers=(Greeting(),)), Image(names=(OTHER,), layers=()))
        patch.setattr(build, "images", lambda: offered)
        build_layers(offered)
        yield available()


@pytest.fixture(scope="module")
def golden(images: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store.ensure_golden(images, tmp_path_factory.getbasetemp())


def run(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_nodes_copy_has_every_image_unpacked(images: Built, golden: Path, tmp_path: Path) -> None:
    store.populate(golden, tmp_path / "node")
    with store.running_containerd(tmp_path / "node") as ctr:
        assert set(run(*ctr, "images", "list", "--quiet")) == {HELLO, OTHER}
        unpacked = run(*ctr, "snapshots", "--snapshotter", store.SNAPSHOTTER, "list")[1:]
        assert len(unpacked) == len(images.blobs) - 2 * len(images.images), "one snapshot for each layer"
        kept = {line.split()[0] for line in run(*ctr, "content", "list")[1:]}
    layers = {digest for image in images.images for digest in image.layers}
    assert kept == set(images.blobs) - layers, "unpacked layers are not kept as archives too"


def test_copies_share_files_and_not_databases(golden: Path, tmp_path: Path) -> None:
    store.populate(golden, tmp_path / "node")
    files = [path.relative_to(golden) for path in golden.rglob("*") if path.is_file() and not path.is_symlink()]
    shared = {path for path in files if (golden / path).samefile(tmp_path / "node" / path)}
    assert {path.suffix for path in set(files) - shared} == {".db"}
    assert "hello" in {path.name for path in shared}


def test_files_keep_their_owners(golden: Path) -> None:
    home = next(golden.rglob("home/jovyan"))
    assert (home.stat().st_uid, home.stat().st_gid) == (1000, 100)


def test_the_same_images_are_imported_once(images: Built, golden: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    assert store.ensure_golden(images, tmp_path, reports.append) == golden
    assert reports == []


@pytest.fixture(scope="module")
def hosts(images: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry on loopback, and a directory that sends containerd there."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = build_server(create_app(images), "127.0.0.1", port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    directory = tmp_path_factory.mktemp("hosts")
    (directory / "_default").mkdir()
    (directory / "_default/hosts.toml").write_text(
        f'[host."http://127.0.0.1:{port}"]\n  capabilities = ["pull", "resolve"]\n'
    )
    yield directory
    server.should_exit = True
    thread.join()


def test_an_image_of_any_host_is_pulled_from_the_registry(hosts: Path, tmp_path: Path) -> None:
    with store.running_containerd(tmp_path / "node") as ctr:
        for name in (HELLO, OTHER):
            run(*ctr, "images", "pull", "--local", "--hosts-dir", str(hosts), "--snapshotter", store.SNAPSHOTTER, name)
        assert set(run(*ctr, "images", "list", "--quiet")) == {HELLO, OTHER}


@pytest.mark.parametrize("name", ["quay.io/campus/hello:4", "ghcr.io/nobody/nothing:1"])
def test_an_image_that_is_not_there_is_not_found(hosts: Path, tmp_path: Path, name: str) -> None:
    with store.running_containerd(tmp_path / "node") as ctr:
        done = subprocess.run(
            [*ctr, "images", "pull", "--local", "--hosts-dir", hosts, name], capture_output=True, text=True, check=False
        )
    assert done.returncode != 0
    assert f"{name}: not found" in done.stderr


def test_nothing_of_containerd_stays_on_the_machine(golden: Path) -> None:
    assert str(golden) not in Path("/proc/self/mountinfo").read_text()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"lyceum-containerd-" not in process.read_bytes(), f"{process} still runs"
        except (FileNotFoundError, ProcessLookupError):
            continue
