"""What the launcher needs to boot one VM: paths and words only, so it travels as JSON to a small process."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LAB = Path("/opt/lyceum-lab")
"""Where a VM sees the lab's own things: bin (toolchain), python, site (packages), src, volumes."""
CONTAINERD_ROOT = "/var/lib/containerd"
"""Images and containers of a VM in which pods run. Not K3s's place: /var/lib/rancher must be removable."""


@dataclass(frozen=True)
class BootPlan:
    """How to build a VM's root and network, ready to execute.

    Attributes:
        vmid: Which VM.
        hostname: Its name.
        directory: Its place on disk; holds upper, work, usr-upper, usr-work and root.
        lower: Layers below its `/`, top first, as overlayfs wants them: joined by colons.
        usr: Layers below its `/usr`, likewise.
        options: Mount options of both, such as `userxattr` where root is not the machine's.
        binds: Source on the machine, target in the VM, read-only or not.
        links: Symbolic links under /dev: target, path.
        ip: Commands for `ip -batch` inside the VM.
        run_files: Content of files below /run, by relative path.
        pods: Whether containers are to run in it.
    """

    vmid: int
    hostname: str
    directory: str
    lower: str
    usr: str
    options: str
    binds: tuple[tuple[str, str, bool], ...]
    links: tuple[tuple[str, str], ...]
    ip: str
    run_files: dict[str, str]
    pods: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "BootPlan":
        """The inverse of `to_json`."""
        pairs = {key: tuple(tuple(item) for item in data[key]) for key in ("binds", "links")}
        return cls(**{**data, **pairs})
