"""Where a running campus keeps its things."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class RunDir:
    """`<project>/.lyceum/lab/<name>`, and what is in it."""

    path: Path

    @classmethod
    def of(cls, name: str) -> "RunDir":
        """The directory of the lab of that name."""
        return cls(PROJECT / ".lyceum/lab" / name)

    @property
    def pid(self) -> Path:
        """PID and start time of the campus's PID 1, as the machine numbers it: `1234 5678901`."""
        return self.path / "campus.pid"

    @property
    def status(self) -> Path:
        """Addresses, ports and versions (JSON)."""
        return self.path / "campus.json"

    @property
    def spec(self) -> Path:
        """The campus that was asked for (JSON of `LabSpec` and options)."""
        return self.path / "spec.json"

    @property
    def asked(self) -> Path:
        """What `lab up` was asked for, in one line, to know it again quickly."""
        return self.path / "asked"

    @property
    def control(self) -> Path:
        """The daemon's control socket."""
        return self.path / "control.sock"

    @property
    def ca(self) -> Path:
        """The lab CA's certificate (PEM)."""
        return self.path / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The lab CA's key (PEM, 0600)."""
        return self.path / "ca.key"

    @property
    def seed(self) -> Path:
        """Root secret of the lab's stacks: 64 hex characters, 0600."""
        return self.path / "seed"

    @property
    def logs(self) -> Path:
        """Logs of the campus's parts."""
        return self.path / "log"

    @property
    def hosts(self) -> Path:
        """Disks of the VMs, by vmid."""
        return self.path / "hosts"

    @property
    def image(self) -> Path:
        """Where the VM image's layers are mounted, inside the campus."""
        return self.path / "image"


def ensure_secret(file: Path, make: Callable[[], str]) -> str:
    """Content of a file that only its owner reads; written first when it is missing."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(make())
    return file.read_text()
