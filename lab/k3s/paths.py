"""Where K3s keeps its files."""

import os
from dataclasses import dataclass
from pathlib import Path

NODE_PASSWORD = Path("/etc/rancher/node/password")
MACHINE = Path("/run/lab/machine.json")
READY = Path("/run/lab/k3s.ready")
"""Exists from the moment that the unit is up; for init systems without sd_notify."""
BINARIES = Path(os.environ.get("LYCEUM_BIN", "/opt/lyceum-lab/bin"))
"""Where the lab's toolchain lies in a VM; `/run/lab/env` says so."""


def kube_program() -> str:
    """The program that is every Kubernetes component and kubectl: the toolchain's, or the one on PATH."""
    program = BINARIES / "kube"
    return str(program) if program.exists() else "kube"


@dataclass(frozen=True)
class Paths:
    """The files below K3s's data directory."""

    data: Path
    """`/var/lib/rancher/k3s` unless `--data-dir` says otherwise."""

    @property
    def server(self) -> Path:
        """Everything of the control plane."""
        return self.data / "server"

    @property
    def tls(self) -> Path:
        """Certificates and keys of the control plane."""
        return self.server / "tls"

    @property
    def cred(self) -> Path:
        """Kubeconfigs and other credentials of the components."""
        return self.server / "cred"

    @property
    def etcd(self) -> Path:
        """The data directory of etcd; `member/` is etcd's own."""
        return self.server / "db" / "etcd"

    @property
    def snapshots(self) -> Path:
        """Snapshots, unless `etcd-snapshot-dir` says otherwise."""
        return self.server / "db" / "snapshots"

    @property
    def reset_flag(self) -> Path:
        """Left by `--cluster-reset`, removed by the next ordinary start."""
        return self.server / "db" / "reset-flag"

    @property
    def tombstone(self) -> Path:
        """Left when this server was removed from the etcd cluster: its data must not be used again."""
        return self.etcd / "tombstone"

    @property
    def manifests(self) -> Path:
        """YAML files here are applied to the cluster."""
        return self.server / "manifests"

    @property
    def agent(self) -> Path:
        """Everything of the node."""
        return self.data / "agent"

    def prepare_server(self) -> None:
        """Create the directories of a server, private to root as K3s's are."""
        for directory in (self.tls / "etcd", self.cred, self.etcd, self.snapshots, self.manifests, self.agent):
            directory.mkdir(parents=True, exist_ok=True)
        for directory in (self.server, self.tls, self.cred, self.etcd, self.snapshots, self.agent):
            directory.chmod(0o700)


def write_secret(file: Path, content: bytes | str, mode: int = 0o600) -> None:
    """Write a file whole or not at all, never readable by others on the way."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    temporary.chmod(mode)
    temporary.rename(file)
