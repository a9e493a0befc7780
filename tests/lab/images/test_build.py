"""The cache of layers: made once, known by their ingredients; and the names under which pods find images."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.images import build
from lab.images.build import available, build_layers, full_name, layer_path, spellings, stored_name
from lab.images.recipes import Image
from toolchain.images.archive import Entry
from toolchain.images.layers import Layer, LayerError
from toolchain.images.places import images_root


class Text(Layer):
    """A layer of one file, which counts how often it is made."""

    def __init__(self, name: str, text: str, *, fails: bool = False) -> None:
        self.name, self.text, self.fails, self.made = name, text, fails, 0

    def ingredients(self) -> Iterable[str | bytes]:
        return [self.text]

    def entries(self, scratch: Path) -> Iterable[Entry]:
        self.made += 1
        if self.fails:
            raise LayerError("no package index")
        yield Entry("/etc/text", self.text.encode())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path))


def offer(monkeypatch: pytest.MonkeyPatch, *images: Image) -> None:
    monkeypatch.setattr(build, "images", lambda: images)


def image(name: str, *layers: Layer) -> Image:
    return Image(names=(name,), layers=layers)


def test_an_image_is_available_once_all_its_layers_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    one = image("quay.io/a/b:1", Text("one", "1"))
    offer(monkeypatch, one)
    assert available().missing == ("quay.io/a/b:1",)
    build_layers((one,))
    assert list(available().manifests) == ["quay.io/a/b:1"]
    assert available().missing == ()


def test_a_layer_that_two_images_share_is_made_once() -> None:
    shared = Text("shared", "1")
    build_layers((image("quay.io/a/b:1", shared), image("quay.io/a/c:1", shared)))
    build_layers((image("quay.io/a/d:1", shared),))
    assert shared.made == 1


def test_other_ingredients_are_another_layer() -> None:
    assert layer_path(Text("one", "1")) != layer_path(Text("one", "2"))


def test_ingredients_are_not_just_joined() -> None:
    class Two(Text):
        def ingredients(self) -> Iterable[str | bytes]:
            return self.text.split()

    assert Two("one", "ab c").key() != Two("one", "a bc").key()


def test_a_layer_that_fails_leaves_nothing_and_keeps_those_before_it() -> None:
    good, bad = Text("good", "1"), Text("bad", "1", fails=True)
    with pytest.raises(LayerError, match="no package index"):
        build_layers((image("quay.io/a/b:1", good, bad),))
    assert layer_path(good).is_dir()
    assert not layer_path(bad).exists()
    assert not list(images_root().glob(".making-*"))


def test_a_layer_that_nobody_used_for_a_week_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Text("old", "1"), Text("new", "1")
    build_layers((image("quay.io/a/b:1", old),))
    monkeypatch.setattr(build, "KEPT_S", -1.0)
    build_layers((image("quay.io/a/b:1", new),))
    assert not layer_path(old).exists()
    assert layer_path(new).exists()


def test_the_digest_of_all_images_changes_with_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for text in ("1", "2"):
        one = image("quay.io/a/b:1", Text("one", text))
        build_layers((one,))
        offer(monkeypatch, one)
        digests.append(available().digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("quay.io/a/b:1", {"quay.io/a/b:1"}),
        ("docker.io/rancher/pause:3", {"docker.io/rancher/pause:3", "rancher/pause:3"}),
        ("docker.io/library/busybox:1", {"docker.io/library/busybox:1", "library/busybox:1", "docker.io/busybox:1", "busybox:1"}),
    ],
)  # fmt: skip
def test_a_pod_may_leave_out_docker_hub_and_its_library(name: str, forms: set[str]) -> None:
    assert set(spellings(name)) == forms
    assert {full_name(form) for form in forms} == {name}


def test_a_name_with_a_digest_is_kept_without_its_tag() -> None:
    assert stored_name("quay.io/a/b:1@sha256:00") == "quay.io/a/b@sha256:00"
    assert stored_name("registry:5000/a/b:1") == "registry:5000/a/b:1"


@pytest.mark.parametrize("name", ["localhost/a:1", "registry:5000/a/b:1", "ghcr.io/a:1"])
def test_another_registry_is_known_by_its_dot_its_port_or_localhost(name: str) -> None:
    assert full_name(name) == name
