"""Python in images: this machine's interpreter with its standard library, and pinned packages from PyPI.

The interpreter lies in /opt/python, the packages in a virtual environment, /opt/venv. Byte code is included and never
compared with the source: a hub starts in 5 s with it and in 40 s without.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from toolchain.images.archive import Entry
from toolchain.images.layers import Layer, LayerError, identify_file, shared_libraries, tree_entries

PINS = Path(__file__).parent / "pins"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
HOME, VENV = "/opt/python", "/opt/venv"
NOT_COPIED = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3",
    "ensurepip", "config-*", "EXTERNALLY-MANAGED", "sitecustomize.py", "*.a",
)  # fmt: skip
"""Parts of the standard library that no pod needs."""
SHEBANG_BYTES = 512
"""Where the interpreter's path stands in a script that pip wrote."""


@dataclass(frozen=True)
class Interpreter(Layer):
    """Python itself, and the home of the notebooks' user."""

    name: str = "python"

    def ingredients(self) -> Iterable[str | bytes]:
        """Its version and its files."""
        return [sys.version, identify_file(_executable()), identify_file(_standard_library() / "os.py")]

    def entries(self, scratch: Path) -> Iterable[Entry]:
        """/opt/python."""
        library = scratch / "lib" / VERSION
        shutil.copytree(_standard_library(), library, ignore=NOT_COPIED, ignore_dangling_symlinks=True)
        compile_files(scratch, HOME)
        yield from tree_entries(scratch, HOME)
        yield Entry(f"{HOME}/bin")
        yield Entry(f"{HOME}/bin/{VERSION}", _executable())
        yield Entry("/usr/bin/python3", link=f"{HOME}/bin/{VERSION}")
        yield from shared_libraries([_executable(), *library.rglob("*.so")])
        yield Entry("/home/jovyan", owner=(1000, 100))
        yield Entry("/srv/jupyterhub", owner=(1000, 1000))


def _executable() -> Path:
    return (Path(sys.base_prefix) / "bin" / VERSION).resolve()


def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


@dataclass(frozen=True)
class Packages(Layer):
    """A virtual environment with the packages that `pins/<name>.txt` lists."""

    name: str
    programs: tuple[Path, ...] = ()
    """Files that are commands in the image: `torchrun.py` becomes /opt/venv/bin/torchrun."""

    def ingredients(self) -> Iterable[str | bytes]:
        """The interpreter's version, the list of packages and the commands."""
        yield sys.version
        yield (PINS / f"{self.name}.txt").read_bytes()
        for program in self.programs:
            yield program.name
            yield program.read_bytes()

    def entries(self, scratch: Path) -> Iterable[Entry]:
        """/opt/venv."""
        install_packages(PINS / f"{self.name}.txt", scratch)
        (scratch / "bin").mkdir(exist_ok=True)
        for name in ("python", "python3", VERSION):
            (scratch / "bin" / name).symlink_to(f"{HOME}/bin/{VERSION}")
        (scratch / "pyvenv.cfg").write_text(f"home = {HOME}/bin\ninclude-system-site-packages = false\n")
        for program in self.programs:
            target = scratch / "bin" / program.stem
            target.write_text(f"#!{VENV}/bin/python\n{program.read_text()}")
            target.chmod(0o755)
        compile_files(scratch, VENV)
        yield from tree_entries(scratch, VENV)
        yield from shared_libraries(list(scratch.rglob("*.so")), without=scratch)


def install_packages(pins: Path, target: Path) -> None:
    """Installs exactly the listed packages below `target`, as they will be seen at /opt/venv.

    Raises:
        LayerError: pip cannot have one of them.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--ignore-installed", "--only-binary", ":all:", "--no-warn-script-location"]
    done = subprocess.run(
        [*command, "--prefix", str(target), "-r", str(pins)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LayerError(f"{pins.name}: {done.stderr.strip()}\nRemedy: let pip reach a package index")
    for script in (target / "bin").glob("*"):
        _rewrite_shebang(script)
    _remove(target, lambda path: path.name.endswith(".js.map") or (path.is_dir() and path.name == "tests"))


def _rewrite_shebang(script: Path) -> None:
    """Makes a script that pip wrote start the image's interpreter; also in the form for long paths."""
    content = script.read_bytes()
    begin = content[:SHEBANG_BYTES].replace(sys.executable.encode(), f"{VENV}/bin/python".encode())
    script.write_bytes(begin + content[SHEBANG_BYTES:])


def _remove(root: Path, unwanted: Callable[[Path], bool]) -> None:
    for path in [path for path in root.rglob("*") if unwanted(path)]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def compile_files(root: Path, place: str) -> None:
    """Compiles all modules below `root` to byte code that names them by their path below `place`.

    A file that cannot be compiled is left out: packages contain templates and sources of other versions.
    """
    command = [sys.executable, "-m", "compileall", "-q", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    # -I: the working directory is no source of modules. PYTHONHASHSEED: sets in byte code keep their order.
    command.insert(1, "-I")
    subprocess.run(
        [*command, "-s", str(root), "-p", place, str(root)],
        check=False,
        capture_output=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
