"""Images on real nodes: a root directory of containerd that has them all, made once and hard-linked to every node.

Importing takes tens of seconds and the disk space of all images; a copy by hard links takes a second and a few
megabytes. It works because containerd replaces files and never writes into one, except its databases, which are copied.
"""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from config.errors import LyceumError
from lab.images.build import KEPT_S, Built
from lab.images.recipes import SANDBOX
from toolchain import cache, environment
from toolchain.images.archive import stream_layout
from toolchain.images.places import images_root

__all__ = ["SANDBOX", "StoreError", "ensure_golden", "golden_root", "populate"]

NAMESPACE = "k8s.io"
"""containerd's namespace of the kubelet's images."""
SNAPSHOTTER = "overlayfs"
START_S = 30.0
MESSAGE_BYTES = 2000
"""How much of a program's words an error repeats, from the end."""
NOT_NEEDED = (
    "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
    "io.containerd.nri.v1.nri", "io.containerd.podsandbox.controller.v1.podsandbox",
)  # fmt: skip
"""Plugins that run pods; they would want devices and networks of the machine."""


class StoreError(LyceumError):
    """containerd did not import the images; the text has its words."""


def golden_root(built: Built, near: Path) -> Path | None:
    """The finished root for these images on the file system of `near`, or None."""
    root = _golden_place(built, near) / "root"
    return root if root.is_dir() else None


def _golden_place(built: Built, near: Path) -> Path:
    """Hard links need one file system, and owners of files are those of the user namespace that imported them."""
    owner = "root" if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"] else "mapped"
    return _golden_base(near) / f"{built.digest}-{cache.sha256(environment.binary('containerd'))[:12]}-{owner}"


def _golden_base(near: Path) -> Path:
    shared = images_root()
    shared.mkdir(parents=True, exist_ok=True)
    if shared.stat().st_dev == near.stat().st_dev:
        return shared / "golden"
    return environment.PROJECT / ".lyceum" / "images"


def ensure_golden(built: Built, near: Path, report: Callable[[str], None] = lambda _: None) -> Path:
    """Imports the images unless it is done; removes roots that nobody used for a week.

    It must run in the user namespace in which pods will see the files.

    Args:
        built: The images.
        near: A directory on the file system where nodes will have theirs.
        report: Takes lines of progress.

    Raises:
        StoreError: containerd refused, or overlays do not work there.
    """
    place = _golden_place(built, near)
    if golden_root(built, near) is None:
        with cache.exclusive_lock(place.parent):
            if golden_root(built, near) is None:
                begun = time.monotonic()
                with tempfile.TemporaryDirectory(
                    dir=place.parent, prefix=".making-", ignore_cleanup_errors=True
                ) as scratch:
                    fresh = Path(scratch) / "golden"
                    fresh.mkdir()
                    _import_images(built, fresh / "root")
                    fresh.rename(place)
                report(f"imported {len(built.manifests)} images for real nodes: {time.monotonic() - begun:.1f} s")
    place.touch()
    for other in place.parent.iterdir():
        if not other.name.startswith(".") and time.time() - other.stat().st_mtime > KEPT_S:
            shutil.rmtree(other, ignore_errors=True)
    return place / "root"


def populate(golden: Path, target: Path) -> None:
    """Gives a node its own root: hard links to the golden one, and copies of the databases.

    Args:
        golden: From `ensure_golden`.
        target: Must not exist, on the same file system.
    """
    subprocess.run(["cp", "--archive", "--link", str(golden), str(target)], check=True)
    for database in target.rglob("*.db"):
        fresh = database.with_suffix(".copy")
        shutil.copy2(database, fresh)
        fresh.replace(database)


def _import_images(built: Built, root: Path) -> None:
    with running_containerd(root) as ctr, tempfile.TemporaryFile() as output:
        words = ["images", "import", "--local", "--discard-unpacked-layers", "--snapshotter", SNAPSHOTTER, "-"]
        with subprocess.Popen([*ctr, *words], stdin=subprocess.PIPE, stdout=output, stderr=output) as process:
            assert process.stdin is not None  # noqa: S101  # for the type checker; PIPE was asked for
            with contextlib.suppress(BrokenPipeError), process.stdin:
                stream_layout(process.stdin, built.manifests, built.blobs)
        if process.returncode:
            output.seek(0)
            raise StoreError(f"ctr images import: {output.read().decode()[-MESSAGE_BYTES:]}")
        # Unpacked layers are not needed as archives; a node that starts would remove each of its links to them.
        subprocess.run([*ctr, "content", "prune", "references"], check=True, capture_output=True)


def containerd_config(root: Path, runtime: Path) -> str:
    """Configuration of a containerd that only stores images."""
    return f"""\
version = 3
root = "{root}"
state = "{runtime}/state"
disabled_plugins = [{", ".join(f'"{name}"' for name in NOT_NEEDED)}]
[grpc]
  address = "{runtime}/containerd.sock"
[ttrpc]
  address = "{runtime}/containerd.sock.ttrpc"
[plugins.'io.containerd.internal.v1.opt']
  path = "{runtime}/opt"
"""


@contextlib.contextmanager
def running_containerd(root: Path) -> Iterator[list[str]]:
    """A containerd over `root` that runs no pods, in a mount namespace of its own, which ends with it.

    Yields:
        The beginning of a command of `ctr`.

    Raises:
        StoreError: It does not start.
    """
    command = ["unshare", "--mount", "--propagation", "private"]
    # In /tmp, because the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="lyceum-containerd-") as directory:
        runtime = Path(directory)
        socket, log, config = (runtime / name for name in ("containerd.sock", "log", "config.toml"))
        config.write_text(containerd_config(root, runtime))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(environment.binary("containerd")), "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            end = time.monotonic() + START_S
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > end:
                    raise StoreError(f"containerd does not start: {log.read_text()[-MESSAGE_BYTES:]}")
                time.sleep(0.05)
            yield [str(environment.binary("ctr")), "--address", str(socket), "--namespace", NAMESPACE]
        finally:
            process.terminate()
            process.wait()
