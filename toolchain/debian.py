"""The lab's Debian packages: which, how to see that they are there, and how they come."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain import cache
from toolchain.console import say, step

PACKAGES = {
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "curl": "curl",
    "iproute2": "ip",
    "iputils-arping": "arping",
    "openssh-client": "ssh",
    "openssh-server": "sshd",
    "procps": "ps",
    "sudo": "sudo",
    "uidmap": "newuidmap",
    "util-linux": "nsenter",
}
"""Each package the lab's hosts use, and the program or file that shows it is installed, whoever installed it."""

PLACES = os.pathsep.join(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
POLICY = Path("/usr/sbin/policy-rc.d")
OURS = "# made by Lyceum's set-up for the time of an installation; may be removed"


class AptError(Exception):
    """apt-get failed; says how, and the remedy."""


def missing() -> list[str]:
    """Packages whose program is not on this machine, sorted."""
    return sorted(package for package, proof in PACKAGES.items() if not _is_there(proof))


def _is_there(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof, path=PLACES) is not None


def install_missing() -> None:
    """Installs what is missing where that is allowed, else says what to install; the lab alone needs it.

    Raises:
        AptError: apt-get could not install them.
    """
    absent = missing()
    if not absent:
        return
    apt = shutil.which("apt-get", path=PLACES)
    if os.geteuid() != 0 or apt is None:
        how = f"sudo apt-get install {' '.join(absent)}" if apt else f"your system's packages for {', '.join(absent)}"
        say(f"  The lab needs programs that are not on this machine. Remedy: {how}")
        return
    with step("debian", cache.times()) as shown, _services_stay_down():
        shown.note("package lists")
        _apt([apt, "update", "-q"])
        shown.note(" ".join(absent))
        _apt([apt, "install", "-q", "-y", "--no-install-recommends", *absent])
    if "openssh-server" in absent and Path("/run/systemd/system").is_dir():
        # The lab starts sshd inside its hosts; installing it must not open a door on this machine.
        subprocess.run(["systemctl", "disable", "--quiet", "ssh.service", "ssh.socket"], check=False)


def _apt(command: list[str]) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        raise AptError(
            f"{' '.join(command)}\n{done.stderr.strip()}\nRemedy: mend apt, or install the packages yourself"
        )


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Tells Debian's maintainer scripts not to start what they install, unless somebody already decides that."""
    if POLICY.exists() and OURS not in POLICY.read_text():
        yield
        return
    POLICY.write_text(f"#!/bin/sh\n{OURS}\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
