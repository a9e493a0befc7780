"""Programs in images start with what the image has: its own libraries, interpreter and packages."""

import shutil
import subprocess
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from config.versions import CHARTS, CPU_NOTEBOOK
from lab.images.build import BuiltImage, available, build_layers
from lab.images.recipes import TORCH, images
from toolchain.images.layers import Binaries
from toolchain.images.python import PINS

pytestmark = pytest.mark.lab
DEBIAN_12 = "3.11.2"
HUB = f"quay.io/jupyterhub/k8s-hub:{CHARTS['jupyterhub'].version}"
PROXY = "quay.io/jupyterhub/configurable-http-proxy:5.2.0"
JUPYTERHUB = next(
    line.partition("==")[2] for line in (PINS / "hub.txt").read_text().split() if line.startswith("jupyterhub==")
)


@pytest.fixture(scope="module")
def packaged() -> dict[str, BuiltImage]:
    """Images without programs of the toolchain; made at the first time."""
    build_layers(tuple(image for image in images() if not any(isinstance(layer, Binaries) for layer in image.layers)))
    return {name: image for image in available().images for name in image.names}


@pytest.fixture(scope="module")
def root(
    packaged: dict[str, BuiltImage], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The files of an image."""
    place = tmp_path_factory.mktemp("root")
    for archive in packaged[request.param].layers.values():
        subprocess.run(["tar", "-x", "--no-same-owner", "-f", archive, "-C", place], check=True)
    yield place
    shutil.rmtree(place)


def run(root: Path, *command: str) -> str:
    environment = ["/usr/bin/env", "-i", "PATH=/opt/venv/bin:/usr/bin", "HOME=/tmp"]
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "/usr/sbin/chroot", root, *environment, *command],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("root", [HUB, CPU_NOTEBOOK, TORCH], indirect=True)
def test_packages_are_taken_by_the_python_of_debian_12(root: Path) -> None:
    """An image has this machine's interpreter; pip refuses a package that asks for a newer one."""
    asked = {}
    for file in root.glob("opt/venv/lib/python3*/site-packages/*.dist-info/METADATA"):
        metadata = Parser().parsestr(file.read_text(), headersonly=True)
        asked[metadata["Name"]] = metadata["Requires-Python"] or ""

    assert asked
    assert {name: rule for name, rule in asked.items() if not SpecifierSet(rule).contains(DEBIAN_12)} == {}


@pytest.mark.parametrize("root", [HUB], indirect=True)
def test_the_hub_has_what_the_charts_configuration_imports(root: Path) -> None:
    modules = (
        "kubespawner, oauthenticator, jupyterhub_idle_culler, kubernetes_asyncio, tornado.curl_httpclient, sqlite3"
    )
    assert run(root, "python3", "-c", f"import {modules}; print('all')") == "all\n"
    assert run(root, "jupyterhub", "--version").strip() == JUPYTERHUB


@pytest.mark.parametrize("root", [CPU_NOTEBOOK], indirect=True)
def test_a_notebook_speaks_the_hubs_version(root: Path) -> None:
    assert run(root, "jupyterhub-singleuser", "--version").strip() == JUPYTERHUB
    assert run(root, "python", "-c", "import jupyterlab, ipykernel, numpy; print(numpy.ones(3).sum())") == "3.0\n"


@pytest.mark.parametrize("root", [PROXY], indirect=True)
def test_the_proxy_starts_with_the_images_own_node(root: Path) -> None:
    assert run(root, "configurable-http-proxy", "--version").strip() == PROXY.rpartition(":")[2]


@pytest.mark.parametrize("root", [TORCH], indirect=True)
def test_the_torch_runtime_starts_workers_and_says_that_it_has_no_pytorch(root: Path) -> None:
    assert run(root, "bash", "-c", "torchrun /opt/venv/bin/sum_ranks").endswith("sent 1, sum 1\n")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(root, "python", "-c", "import torch")
    assert "No module named 'torch'" in failed.value.stderr


@pytest.mark.parametrize("root", [TORCH], indirect=True)
def test_modules_are_compiled_for_the_place_where_they_lie(root: Path) -> None:
    code = (
        "import json; print(json.decoder.__cached__, json.decoder.__spec__.loader.get_code('json.decoder').co_filename)"
    )
    cached, source = run(root, "python", "-c", code).split()
    assert (root / cached.lstrip("/")).exists()
    assert source.startswith("/opt/python/"), "a traceback must not name a file of the machine that built the image"
