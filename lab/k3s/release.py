"""What the mirror serves in place of a K3s release, and the versions that the stand-in reports.

Both byte builders are pure, so that a pinned checksum stays true from run to run.
"""

import hashlib
import os

KUBERNETES = "v1.36.3"
"""Version of the control plane that toolchain/controlplane builds."""

DEFAULT_VERSION = "v1.36.3+k3s1"
"""Reported when the stand-in runs without its launcher (in tests)."""

CONTAINERD = "containerd://2.3.4-k3s1"
"""What a K3s v1.36.3 node reports as container runtime."""

OS_IMAGE = "Ubuntu 24.04.4 LTS"
KERNEL = "6.8.0-106-generic"

_LAUNCHER = """\
#!/bin/sh
# K3s {version}, as the lab serves it: a stand-in with K3s's interface over a real Kubernetes control plane.
# The environment of the virtual machine names the interpreter and the place of the stand-in's code.
[ -r /run/lab/env ] && {{ set -a; . /run/lab/env; set +a; }}
: "${{LYCEUM_PYTHON:?k3s in the lab runs only inside a lab VM: /run/lab/env does not name LYCEUM_PYTHON}}"
LYCEUM_K3S_VERSION={version}
export LYCEUM_K3S_VERSION
case "${{0##*/}}" in kubectl) set -- kubectl "$@" ;; esac
exec "$LYCEUM_PYTHON" -m lab.k3s "$@"
"""


def launcher(version: str) -> bytes:
    """Return the executable file `k3s` of a release, e.g. of `v1.36.3+k3s1`."""
    return _LAUNCHER.format(version=version).encode()


def checksums(version: str) -> bytes:
    """Return `sha256sum-amd64.txt` of a release: lines of hex digest, two spaces and file name, as upstream's."""
    return f"{hashlib.sha256(launcher(version)).hexdigest()}  k3s\n".encode()


def running_version() -> str:
    """Return the version that this process stands for, e.g. `v1.36.3+k3s1`."""
    return os.environ.get("LYCEUM_K3S_VERSION", DEFAULT_VERSION)


def kube_environment() -> dict[str, str]:
    """Return what makes the control plane report this K3s's version, as far as it is of the same Kubernetes."""
    version = running_version()
    return {"KUBE_VERSION": version} if version.partition("+")[0] == KUBERNETES else {}
