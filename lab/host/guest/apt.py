"""The packages of a VM: `apt-get`, `dpkg` and their kin, as far as an upgrade of a node needs them.

The machine's own packages are lent to every VM and must not change, so nothing is ever installed here. What is kept is
what an upgrade turns on: what the archive offers, what was fetched of its lists, what is unpacked and configured, holds,
the real lock, and whether a reboot is required. A fresh VM lacks nothing; a fault (`lab/host/faults.py`) makes the archive offer more.
"""

import contextlib
import fcntl
import json
import os
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from lab.host import syscalls

ARCHIVE = Path("/var/lib/lab/archive.json")
"""What the mirror has; `apt-get update` copies it to `LISTS`."""
LISTS = Path("/var/lib/apt/lists/lab.json")
INSTALLED = Path("/var/lib/dpkg/lab.json")
HELD = Path("/var/lib/dpkg/held.json")
LOCK = Path("/var/lib/dpkg/lock-frontend")
CONFIGURATION = Path("/etc/apt/apt.conf.d")
REBOOT = Path("/run/reboot-required")
"""Its presence asks for a reboot; `.pkgs` beside it says for which packages (unattended-upgrades, update-notifier)."""
HOLD_SECONDS = Path("/var/lib/lab/unattended-seconds")
OK, TROUBLE, LOCKED = 0, 100, 2
"""Exit codes: well; apt's for anything else; dpkg's for trouble."""
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of fcntl(2) on x86-64: type, whence, start, length, pid."""


@dataclass(frozen=True)
class Offer:
    """A package that the archive has in a newer version.

    Attributes:
        version: The newer one.
        installed: The one that is installed; empty for a package that comes new with another.
        security: Whether it comes from the security archive.
        reboot: Whether it asks for a reboot once configured.
        fails: What its post-installation script says when it fails; empty where it does not.
        seconds: How long its unpacking takes.
    """

    version: str
    installed: str = ""
    security: bool = False
    reboot: bool = False
    fails: str = ""
    seconds: float = 0.05


@dataclass
class PackageState:
    """A package's state: `installed`, `unpacked` or `half-configured`."""

    version: str
    state: str = "installed"


class LockedError(Exception):
    """Another process holds dpkg's lock."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid
        comm = Path(f"/proc/{pid}/comm")
        self.name = comm.read_text().strip() if comm.exists() else "unknown"


def read_offers(file: Path) -> dict[str, Offer]:
    """What the archive, or the lists, hold."""
    return {name: Offer(**fields) for name, fields in _read(file).items()}


def read_states() -> dict[str, PackageState]:
    """What dpkg knows beyond the image."""
    return {name: PackageState(**fields) for name, fields in _read(INSTALLED).items()}


def list_upgrades() -> dict[str, Offer]:
    """What the lists have newer than what is installed; new packages included."""
    known = read_states()
    return {
        name: offer
        for name, offer in sorted(read_offers(LISTS).items())
        if (known[name].version if name in known else offer.installed) != offer.version
    }


def _read(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return data


def _write(file: Path, data: dict[str, Any] | list[str]) -> None:
    """Writes at once or not at all: a VM may lose its power at any moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(data))
    new.replace(file)


def _record_state(name: str, version: str, state: str) -> None:
    known = read_states()
    known[name] = PackageState(version, state)
    _write(INSTALLED, {called: asdict(one) for called, one in known.items()})


@contextlib.contextmanager
def hold_lock(seconds: float = 0) -> Iterator[IO[str]]:
    """Holds dpkg's lock, a real one.

    Raises:
        LockedError: another process holds it, after so many seconds.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    with LOCK.open("w") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                answer = fcntl.fcntl(file, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
                if time.monotonic() >= end:
                    raise LockedError(_FLOCK.unpack(answer)[4]) from None
                time.sleep(0.1)
        yield file


def apt_get(words: list[str]) -> int:
    """`apt-get [-s] [-d] update|upgrade [--with-new-pkgs]`."""
    try:
        verb, flags, settings = _parse_words(words)
    except ValueError as error:
        return _fail(f"E: the lab's apt-get knows update and upgrade, and not {error}")
    try:
        if verb == "update":
            return _update()
        if "simulate" in flags:
            return _simulate(new="new" in flags)
        with hold_lock(float(settings.get("DPkg::Lock::Timeout", 0))):
            return _upgrade(new="new" in flags, download="download" in flags)
    except LockedError as error:
        return _fail(
            f"E: Could not get lock {LOCK}. It is held by process {error.pid} ({error.name})\n"
            "N: Be aware that removing the lock file is not a solution and may break your system.\n"
            f"E: Unable to acquire the dpkg frontend lock ({LOCK}), is another process using it?"
        )


_FLAGS = {
    "-s": "simulate", "--simulate": "simulate", "-d": "download", "--download-only": "download",
    "--with-new-pkgs": "new", "-y": "yes", "--yes": "yes", "-q": "quiet", "-qq": "quiet",
}  # fmt: skip


def _parse_words(words: list[str]) -> tuple[str, set[str], dict[str, str]]:
    """Verb, flags and settings.

    Raises:
        ValueError: the first word that the lab does not know.
    """
    verb, flags, settings = "", set[str](), dict[str, str]()
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "-o" and left:
            key, _, value = left.pop(0).partition("=")
            settings[key] = value
        elif word in _FLAGS:
            flags.add(_FLAGS[word])
        elif word in {"update", "upgrade"} and not verb:
            verb = word
        else:
            raise ValueError(word)
    if not verb:
        raise ValueError("nothing")
    return verb, flags, settings


def _update() -> int:
    _write(LISTS, _read(ARCHIVE))
    sys.stdout.write("Hit:1 http://deb.debian.org/debian stable InRelease\nReading package lists...\n")
    return OK


def _choose_upgrades(*, new: bool) -> tuple[dict[str, Offer], list[str]]:
    """What an upgrade installs, and what it keeps back."""
    held, wanted = set(_read(HELD)), list_upgrades()
    fits = {name: offer for name, offer in wanted.items() if name not in held and (offer.installed or new)}
    return fits, [name for name in wanted if name not in fits]


def _simulate(*, new: bool) -> int:
    chosen, kept = _choose_upgrades(new=new)
    _print_kept_back(kept)
    for name, offer in chosen.items():
        old = f" [{offer.installed}]" if offer.installed else ""
        origin = "Debian-Security:12/stable-security" if offer.security else "Debian:12.15/stable"
        sys.stdout.write(f"Inst {name}{old} ({offer.version} {origin} [amd64])\n")
    sys.stdout.writelines(f"Conf {name} ({offer.version} [amd64])\n" for name, offer in chosen.items())
    return OK


def _print_kept_back(names: list[str]) -> None:
    if names:
        sys.stdout.write(f"The following packages have been kept back:\n  {' '.join(names)}\n")


def _upgrade(*, new: bool, download: bool) -> int:
    if any(one.state == "unpacked" for one in read_states().values()):
        return _fail("E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.")
    chosen, kept = _choose_upgrades(new=new)
    _print_kept_back(kept)
    if download:
        return OK
    for name, offer in chosen.items():
        sys.stdout.write(f"Unpacking {name} ({offer.version}) over ({offer.installed}) ...\n")
        _record_state(name, offer.version, "unpacked")
        time.sleep(offer.seconds)
    return _configure()


def _configure() -> int:
    """Configures what is unpacked, as dpkg does after all is unpacked; what fails stays half-configured."""
    known, failed = read_offers(LISTS), []
    for name, one in read_states().items():
        if one.state == "installed":
            continue
        offer = known.get(name, Offer(one.version))
        sys.stdout.write(f"Setting up {name} ({one.version}) ...\n")
        if offer.fails:
            sys.stderr.write(
                f"{offer.fails}\ndpkg: error processing package {name} (--configure):\n installed {name} package "
                "post-installation script subprocess returned error exit status 1\n"
            )
            _record_state(name, one.version, "half-configured")
            failed.append(name)
            continue
        _record_state(name, one.version, "installed")
        if offer.reboot:
            REBOOT.write_text("*** System restart required ***\n")
            with REBOOT.with_suffix(".pkgs").open("a") as names:
                names.write(f"{name}\n")
    if failed:
        listed = "".join(f" {name}\n" for name in failed)
        return _fail(
            f"Errors were encountered while processing:\n{listed}E: Sub-process /usr/bin/dpkg returned an error code (1)"
        )
    return OK


def _fail(text: str, code: int = TROUBLE) -> int:
    sys.stderr.write(f"{text}\n")
    return code


def dpkg(words: list[str]) -> int:
    """`dpkg --audit`, `dpkg --configure -a`."""
    if words == ["--audit"]:
        unfinished = [name for name, one in read_states().items() if one.state != "installed"]
        if unfinished:
            sys.stdout.write("The following packages are only half configured, probably due to problems:\n")
            sys.stdout.writelines(f" {name:<20} simulated\n" for name in unfinished)
        return OK
    if words == ["--configure", "-a"]:
        try:
            with hold_lock():
                return OK if _configure() == OK else 1
        except LockedError as error:
            return _fail(f"dpkg: error: dpkg frontend lock was locked by another process with pid {error.pid}", LOCKED)
    return _fail("dpkg: the lab answers --audit and --configure -a", LOCKED)


def apt_mark(words: list[str]) -> int:
    """`apt-mark showhold|hold|unhold`."""
    verb, *names = words or [""]
    held = set(_read(HELD))
    if verb == "showhold":
        sys.stdout.writelines(f"{name}\n" for name in sorted(held))
        return OK
    if verb not in {"hold", "unhold"}:
        return _fail("E: the lab's apt-mark knows showhold, hold and unhold")
    _write(HELD, dict.fromkeys(sorted(held | set(names) if verb == "hold" else held - set(names)), True))
    return OK


def apt_config(words: list[str]) -> int:
    """`apt-config dump KEY`: the last file that sets a key wins."""
    if len(words) != 2 or words[0] != "dump":
        return _fail("E: the lab's apt-config knows `dump KEY`")
    value = None
    for file in sorted(CONFIGURATION.glob("*")):
        for key, found in re.findall(r'^([\w:-]+) "([^"]*)";', file.read_text(), re.MULTILINE):
            value = found if key == words[1] else value
    if value is not None:
        sys.stdout.write(f'{words[1]} "{value}";\n')
    return OK


def unattended_upgrade(_: list[str]) -> int:
    """Holds dpkg's lock for as long as a fault says, and changes nothing."""
    syscalls.set_process_name("unattended-upgr")
    with hold_lock():
        if target := os.environ.get("NOTIFY_SOCKET"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.sendto(b"READY=1", target)
        time.sleep(float(HOLD_SECONDS.read_text()) if HOLD_SECONDS.exists() else 0)
    return OK


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "apt-get": apt_get,
    "apt-mark": apt_mark,
    "apt-config": apt_config,
    "dpkg": dpkg,
    "unattended-upgrade": unattended_upgrade,
}


def main(argv: list[str]) -> int:
    """Run the command by the name it was called with."""
    return COMMANDS[os.path.basename(argv[0])](argv[1:])  # noqa: PTH119
