"""Images as bytes: the same files give the same digests, and documents refer to each other correctly."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from toolchain.images.archive import (
    CONFIG,
    MANIFEST,
    NAME,
    Descriptor,
    Entry,
    Settings,
    config_document,
    describe,
    manifest_document,
    stream_layout,
    write_layer,
)


def layer_of(path: Path, *entries: Entry) -> tuple[Descriptor, dict[str, tarfile.TarInfo]]:
    written = write_layer(entries, path)
    with tarfile.open(path) as tar:
        return written, {member.name: member for member in tar}


def test_the_same_files_give_the_same_digest_whatever_their_times_owners_and_order(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    entries = [Entry("/usr/bin/program", program), Entry("/etc"), Entry("/etc/conf", b"a=1\n", mode=0o644)]
    first = write_layer(entries, tmp_path / "first.tar")
    os.utime(program, (1, 1))
    program.chmod(0o600)
    assert write_layer(reversed(entries), tmp_path / "second.tar") == first


def test_a_layers_descriptor_is_that_of_its_bytes(tmp_path: Path) -> None:
    written, _ = layer_of(tmp_path / "layer.tar", Entry("/etc/conf", b"a=1\n"))
    data = (tmp_path / "layer.tar").read_bytes()
    assert (written.digest, written.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def test_entries_keep_mode_owner_and_kind(tmp_path: Path) -> None:
    _, members = layer_of(
        tmp_path / "layer.tar",
        Entry("/tmp", mode=0o1777),
        Entry("/home/jovyan", owner=(1000, 100)),
        Entry("/usr/bin/sh", link="busybox"),
    )
    assert (members["tmp"].mode, members["tmp"].isdir()) == (0o1777, True)
    assert (members["home/jovyan"].uid, members["home/jovyan"].gid) == (1000, 100)
    assert (members["usr/bin/sh"].issym(), members["usr/bin/sh"].linkname) == (True, "busybox")


@pytest.mark.parametrize("place", ["/bin/prometheus", "/lib64/ld-linux-x86-64.so.2"])
def test_what_belongs_into_a_merged_directory_lies_below_usr(tmp_path: Path, place: str) -> None:
    _, members = layer_of(tmp_path / "layer.tar", Entry(place, b"x"))
    assert list(members) == [f"usr{place}"], "/bin and /lib64 are links; a directory in their place would hide them"


def test_a_path_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="/usr/bin/sh: twice in one layer"):
        write_layer([Entry("/bin/sh", b"1"), Entry("/usr/bin/sh", b"2")], tmp_path / "layer.tar")


def test_manifest_and_configuration_name_the_layers_in_order() -> None:
    layers = [Descriptor("layer", f"sha256:{number}", number) for number in (1, 2)]
    settings = Settings(entrypoint=("/manager",), user="65532", environment={"PATH": "/bin"}, directory="/data")
    config = json.loads(config_document(settings, layers, "amd64"))
    assert config["rootfs"]["diff_ids"] == ["sha256:1", "sha256:2"], "of uncompressed layers, digest and diff id agree"
    assert config["config"] == {
        "Entrypoint": ["/manager"], "Env": ["PATH=/bin"], "User": "65532", "WorkingDir": "/data",
    }  # fmt: skip
    manifest = json.loads(manifest_document(Descriptor(CONFIG, "sha256:c", 9), layers))
    assert [layer["digest"] for layer in manifest["layers"]] == ["sha256:1", "sha256:2"]
    assert manifest["config"] == {"mediaType": CONFIG, "digest": "sha256:c", "size": 9}


def test_a_layout_has_each_blob_once_and_each_name_in_its_index(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"layer")
    document = b"{}"
    found = describe(MANIFEST, document)
    stream = io.BytesIO()
    stream_layout(stream, {"b:1": found, "a:1": found}, {found.digest: document, "sha256:aa": layer})
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        names = tar.getnames()
        index = json.load(tar.extractfile("index.json") or pytest.fail("no index"))
    assert sorted(names) == sorted(
        ["oci-layout", "index.json", f"blobs/{found.digest.replace(':', '/')}", "blobs/sha256/aa"]
    )
    assert [one["annotations"][NAME] for one in index["manifests"]] == ["a:1", "b:1"]
    assert {one["digest"] for one in index["manifests"]} == {found.digest}
