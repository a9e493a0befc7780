"""The Debian packages that the lab needs: which, how to detect them, how to install them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from config.errors import LyceumError
from toolchain import cache
from toolchain.console import print_line, step

PACKAGES = {
    "busybox": "busybox",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "curl": "curl",
    "iproute2": "ip",
    "iputils-arping": "arping",
    "nftables": "nft",
    "openssh-client": "ssh",
    "openssh-server": "sshd",
    "procps": "ps",
    "runc": "runc",
    "slapd": "slapd",
    "sudo": "sudo",
    "uidmap": "newuidmap",
    "util-linux": "nsenter",
}
"""Each package the lab uses, and the program or file that shows it is installed, whoever installed it."""
BROWSER = {
    "chromium": "chromium",
    "fonts-dejavu-core": "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "libnss3-tools": "certutil",
}
"""What the tests in a browser use; 300 MB, so only the first of them installs it."""
SERVICES = {"openssh-server": ("ssh.service", "ssh.socket"), "slapd": ("slapd.service",)}
"""Services that the lab starts itself, inside the campus; the installation must not start them on this machine."""

PLACES = os.pathsep.join(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
POLICY = Path("/usr/sbin/policy-rc.d")
OURS = "# made by Lyceum's set-up for the time of an installation; may be removed"


class AptError(LyceumError):
    """apt-get failed; the text has its output and the remedy."""


def missing_packages(packages: Mapping[str, str] | None = None) -> list[str]:
    """Packages (default: PACKAGES) whose program is not installed on this machine, sorted."""
    wanted = PACKAGES if packages is None else packages
    return sorted(package for package, proof in wanted.items() if not _is_installed(proof))


def _is_installed(proof: str) -> bool:
    return Path(proof).exists() if proof.startswith("/") else shutil.which(proof, path=PLACES) is not None


def install_missing(packages: Mapping[str, str] | None = None) -> None:
    """Installs missing packages as root with apt-get, otherwise prints what to install; only the lab needs them.

    Args:
        packages: Packages and their proofs; default: PACKAGES.

    Raises:
        AptError: apt-get could not install them.
    """
    absent = missing_packages(packages)
    if not absent:
        return
    apt = shutil.which("apt-get", path=PLACES)
    if os.geteuid() != 0 or apt is None:
        how = f"sudo apt-get install {' '.join(absent)}" if apt else f"your system's packages for {', '.join(absent)}"
        print_line(f"  The lab needs programs that are not on this machine. Remedy: {how}")
        return
    with step("debian", cache.build_times()) as shown, _services_not_started():
        shown.note("package lists")
        _run_apt([apt, "update", "-q"])
        shown.note(" ".join(absent))
        _run_apt([apt, "install", "-q", "-y", "--no-install-recommends", *absent])
    units = [unit for package in absent for unit in SERVICES.get(package, ())]
    if units and Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "disable", "--quiet", *units], check=False)


def _run_apt(command: list[str]) -> None:
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
            f"{' '.join(command)}\n{done.stderr.strip()}\nRemedy: repair apt, or install the packages yourself"
        )


@contextmanager
def _services_not_started() -> Iterator[None]:
    """Keeps Debian's maintainer scripts from starting services, unless the machine already has a policy for that."""
    if POLICY.exists() and OURS not in POLICY.read_text():
        yield
        return
    POLICY.write_text(f"#!/bin/sh\n{OURS}\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
