"""oidc-provider and what it needs, from npm as package-lock.json pins it; and the client's secret."""

import secrets
import shutil
from pathlib import Path

from lab.rundir import RunDir
from toolchain import cache
from toolchain.console import step
from toolchain.images.node import fetch_node, install_npm_packages, node_directory
from toolchain.images.places import images_root

HERE = Path(__file__).parent
SECRET = "oidc-client-secret"  # noqa: S105  # a file's name
"""File in the run directory, as the provider's administrator would hand it over."""


def place() -> Path:
    """Directory of `node_modules` in the cache, which may not exist yet."""
    return images_root() / f"identity-{cache.sha256(HERE / 'package-lock.json')[:12]}"


def node() -> Path:
    """The pinned Node, which may not exist yet."""
    return node_directory() / "bin" / "node"


def is_installed() -> bool:
    """Whether Node and the packages are in the cache."""
    return (place() / "node_modules").is_dir() and node().exists()


def ensure() -> None:
    """Installs them into the cache unless they are there.

    Raises:
        LayerError: npm or PyPI cannot be reached.
    """
    fetch_node()
    target = place()
    if is_installed():
        return
    with step("oidc-provider"):
        fresh = target.with_name(f".making-{target.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        install_npm_packages(HERE, fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def ensure_secret(run: RunDir) -> None:
    """Creates the client's secret unless it is there."""
    file = run.path / SECRET
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
