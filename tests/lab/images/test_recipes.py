"""The table of images: every name is full and pinned, every user is a number."""

import re
from pathlib import Path

import pytest

from config.versions import CPU_NOTEBOOK, NOTEBOOKS
from lab.images.build import full_name
from lab.images.recipes import Image, images
from lab.images.store import SANDBOX, containerd_config
from toolchain.images.layers import Binaries
from toolchain.programs import programs

ALL = images()


@pytest.mark.parametrize("image", ALL, ids=lambda image: image.names[0])
def test_names_are_full_and_have_a_tag(image: Image) -> None:
    for name in image.names:
        assert full_name(name) == name
        assert re.search(r":[\w][\w.-]*(@sha256:[0-9a-f]{64})?$", name), "a pod's image without a tag would be `latest`"


@pytest.mark.parametrize("image", ALL, ids=lambda image: image.names[0])
def test_the_user_is_a_number_because_a_kubelet_cannot_check_a_name(image: Image) -> None:
    assert re.fullmatch(r"\d+(:\d+)?", image.user)


@pytest.mark.parametrize("image", ALL, ids=lambda image: image.names[0])
def test_programs_of_an_image_are_results_of_the_toolchain(image: Image) -> None:
    known = {program.name: program.binaries for program in programs()}
    for layer in image.layers:
        if isinstance(layer, Binaries):
            assert set(layer.binaries.values()) <= set(known[layer.program])


def test_no_name_comes_twice() -> None:
    names = [name for image in ALL for name in image.names]
    assert len(names) == len(set(names))


def test_the_notebooks_that_are_offered_by_default_can_run() -> None:
    names = {name for image in ALL for name in image.names}
    assert {CPU_NOTEBOOK, SANDBOX, *(image for _, image in NOTEBOOKS.values())} <= names


def test_a_containerd_that_only_stores_images_writes_nowhere_else() -> None:
    text = containerd_config(Path("/golden/root"), Path("/tmp/x"))
    assert set(re.findall(r'= "(/[^"]*)"', text)) == {
        "/golden/root", "/tmp/x/state", "/tmp/x/containerd.sock", "/tmp/x/containerd.sock.ttrpc", "/tmp/x/opt",
    }  # fmt: skip
