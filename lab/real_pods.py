"""Which pods of a campus really run, and where: agreed on by the daemon, the VMs and `lab status`.

Standard library only, because VMs read it too.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["LABEL", "NOTE", "REAL", "RealPods", "missing_programs"]

NOTE = Path("/run/lab/pods.json")
"""In each VM of a campus with real pods."""

LABEL, REAL, SIMULATED = "lab.lyceum/pod", "real", "simulated"
"""Label of every pod in such a campus, set when it is created, and its two values."""

TOOLCHAIN = ("containerd", "containerd-shim-runc-v2", "ctr", "labnode", "labrunc")
MACHINE = (
    "/usr/sbin/runc", "/usr/sbin/nft", *(f"/usr/lib/cni/{name}" for name in ("bridge", "host-local", "loopback")),
)  # fmt: skip


@dataclass(frozen=True)
class RealPods:
    """A campus with real pods.

    Attributes:
        nodes: Names of the VMs in which a real kubelet runs.
        images: Names of the images that the lab has, as pods name them; a pod is real if it needs no other.
        registry: URL where nodes get images, whatever registry these name.
    """

    nodes: tuple[str, ...]
    images: tuple[str, ...]
    registry: str

    def to_json(self) -> str:
        """Content of the note."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, note: Path = NOTE) -> "RealPods | None":
        """What this VM's campus does; None where no pod is real."""
        if not note.exists():
            return None
        fields = json.loads(note.read_text())
        return cls(tuple(fields["nodes"]), tuple(fields["images"]), fields["registry"])


def missing_programs(toolchain: Path) -> list[str]:
    """What this machine lacks for real pods: programs of the toolchain, then paths of Debian's packages."""
    built = [name for name in TOOLCHAIN if not (toolchain / "bin" / name).exists()]
    return [*built, *(path for path in MACHINE if not Path(path).exists())]
