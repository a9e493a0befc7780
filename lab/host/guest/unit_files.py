"""Where units live on a VM's disk: found, read with their drop-ins, enabled and disabled."""

from pathlib import Path

from lab.host.guest.timers import TimerUnit, parse_timer
from lab.host.guest.units import Sections, ServiceUnit, UnitError, parse_sections, parse_service

ROOT = Path("/")
DIRECTORIES = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
"""Search path of systemd.unit(5), strongest first."""


def full_name(name: str) -> str:
    """`k3s` means `k3s.service`."""
    return name if "." in name else f"{name}.service"


class UnitFiles:
    """The unit files below a root directory."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._etc = root / DIRECTORIES[0]

    def path(self, name: str) -> Path | None:
        """The file a unit is read from, or None."""
        return next((found for part in DIRECTORIES if (found := self._root / part / name).exists()), None)

    def load(self, name: str) -> ServiceUnit:
        """Read a service and its drop-ins.

        Raises:
            UnitError: not found, masked, or unusable.
        """
        return parse_service(name, self.sections(name))

    def load_timer(self, name: str) -> TimerUnit:
        """Read a timer and its drop-ins.

        Raises:
            UnitError: not found, or unusable.
        """
        return parse_timer(name, self.sections(name))

    def sections(self, name: str) -> Sections:
        """The unit's file and its drop-ins as one."""
        path = self.path(name)
        if path is None:
            raise UnitError(f"Unit {name} not found.")
        sections = parse_sections(path.read_text())
        drop_ins = {
            file.name: file
            for part in reversed(DIRECTORIES)
            for file in (self._root / part / f"{name}.d").glob("*.conf")
        }
        for _, file in sorted(drop_ins.items()):
            parse_sections(file.read_text(), into=sections)
        return sections

    def enabled(self, name: str) -> bool:
        """Whether some target wants the unit at boot."""
        return any(self._etc.glob(f"*.wants/{name}"))

    def enabled_units(self) -> list[str]:
        """Services and timers that start at boot, sorted."""
        return sorted({link.name for kind in ("service", "timer") for link in self._etc.glob(f"*.wants/*.{kind}")})

    def enable(self, name: str) -> list[str]:
        """Make the targets of `[Install]` want the unit; returns what systemctl prints."""
        said = []
        path = self.path(name)
        targets = [
            target for line in self.sections(name).get("Install", {}).get("WantedBy", []) for target in line.split()
        ]
        for target in targets:
            link = self._etc / f"{target}.wants" / name
            if path is not None and not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to("/" / path.relative_to(self._root))
                said.append(f"Created symlink /{link.relative_to(self._root)} → /{path.relative_to(self._root)}.")
        return said

    def disable(self, name: str) -> list[str]:
        """Remove the unit from every target."""
        said = []
        for link in sorted(self._etc.glob(f"*.wants/{name}")):
            link.unlink()
            said.append(f"Removed /{link.relative_to(self._root)}.")
        return said
