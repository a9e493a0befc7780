"""The registry answers as the distribution specification says, for any host that containerd names."""

import asyncio
import hashlib
import json
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from lab.images.build import Built, BuiltImage
from lab.images.registry import create_app
from lab.request_log import RequestLog
from toolchain.images.archive import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    Settings,
    config_document,
    describe,
    manifest_document,
)

LAYER_BYTES = b"0123456789" * 100
UPSTREAM = f"sha256:{'a' * 64}"
"""A digest that a chart names: the registry cannot answer for content that the lab does not have."""


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    archive = tmp_path / "layer.tar"
    archive.write_bytes(LAYER_BYTES)
    layer = Descriptor(LAYER, f"sha256:{hashlib.sha256(LAYER_BYTES).hexdigest()}", len(LAYER_BYTES))
    config = config_document(Settings(), [layer], "amd64")
    return BuiltImage(
        names=(
            "quay.io/campus/hello:3",
            "docker.io/library/busybox:1.36",
            f"registry.k8s.io/ingress/controller:1@{UPSTREAM}",
        ),
        manifest=manifest_document(describe(CONFIG, config), [layer]),
        config=config,
        layers={layer.digest: archive},
    )


@pytest.fixture
def registry(image: BuiltImage) -> Starlette:
    return create_app(Built((image,)))


def ask(app: Starlette, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


def test_the_root_says_that_the_api_is_spoken(registry: Starlette) -> None:
    assert ask(registry, "/v2/").status_code == 200


@pytest.mark.parametrize(
    "path", ["campus/hello/manifests/3?ns=quay.io", "library/busybox/manifests/1.36?ns=docker.io", "library/busybox/manifests/1.36"]
)  # fmt: skip
def test_a_manifest_is_found_by_tag_on_the_registry_that_is_meant(
    registry: Starlette, image: BuiltImage, path: str
) -> None:
    answer = ask(registry, f"/v2/{path}")
    assert answer.content == image.manifest
    assert answer.headers["content-type"] == MANIFEST
    assert answer.headers["docker-content-digest"] == image.descriptor.digest


def test_head_tells_size_and_digest_without_a_body(registry: Starlette, image: BuiltImage) -> None:
    answer = ask(registry, "/v2/campus/hello/manifests/3?ns=quay.io", "HEAD")
    assert (answer.headers["content-length"], answer.content) == (str(len(image.manifest)), b"")
    assert answer.headers["docker-content-digest"] == image.descriptor.digest


def test_a_manifest_is_found_by_digest(registry: Starlette, image: BuiltImage) -> None:
    path = f"/v2/campus/hello/manifests/{image.descriptor.digest}?ns=quay.io"
    assert ask(registry, path).content == image.manifest


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("campus/hello/manifests/4?ns=quay.io", "MANIFEST_UNKNOWN"),
        ("campus/hello/manifests/3?ns=ghcr.io", "NAME_UNKNOWN"),
        ("campus/other/manifests/3?ns=quay.io", "NAME_UNKNOWN"),
        (f"ingress/controller/manifests/{UPSTREAM}?ns=registry.k8s.io", "NAME_UNKNOWN"),
        (f"campus/hello/manifests/sha256:{'0' * 64}?ns=quay.io", "MANIFEST_UNKNOWN"),
        (f"campus/hello/blobs/sha256:{'0' * 64}?ns=quay.io", "BLOB_UNKNOWN"),
        ("campus/other/tags/list?ns=quay.io", "NAME_UNKNOWN"),
    ],
)
def test_what_is_not_there_is_refused_with_the_specifications_code(registry: Starlette, path: str, code: str) -> None:
    answer = ask(registry, f"/v2/{path}")
    assert answer.status_code == 404
    assert [error["code"] for error in answer.json()["errors"]] == [code]


def test_configuration_and_layer_are_found_by_digest(registry: Starlette, image: BuiltImage) -> None:
    for digest, content in ((describe(CONFIG, image.config).digest, image.config), (*image.layers, LAYER_BYTES)):
        assert ask(registry, f"/v2/campus/hello/blobs/{digest}?ns=quay.io").content == content


def test_a_layer_is_sent_from_where_an_interrupted_pull_stopped(registry: Starlette, image: BuiltImage) -> None:
    path = f"/v2/campus/hello/blobs/{next(iter(image.layers))}?ns=quay.io"
    answer = ask(registry, path, headers={"Range": "bytes=990-"})
    assert (answer.status_code, answer.content) == (206, LAYER_BYTES[990:])


def test_tags_are_listed(registry: Starlette) -> None:
    assert ask(registry, "/v2/campus/hello/tags/list?ns=quay.io").json() == {"name": "campus/hello", "tags": ["3"]}


def test_nothing_can_be_pushed(registry: Starlette) -> None:
    assert ask(registry, "/v2/campus/hello/blobs/uploads/", "POST").status_code == 405


def test_each_image_that_was_asked_for_is_logged_with_its_full_name(image: BuiltImage, tmp_path: Path) -> None:
    app = create_app(Built((image,)), RequestLog(tmp_path / "registry.jsonl"))
    ask(app, "/v2/campus/other/manifests/3?ns=quay.io", "HEAD")
    line = json.loads((tmp_path / "registry.jsonl").read_text())
    assert (line["method"], line["path"], line["status"]) == ("HEAD", "quay.io/campus/other 3", 404)
