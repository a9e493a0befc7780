"""This host as K3s sees it: its name, address, machine, kernel settings, and its init system."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.host.guest import kernel
from lab.k3s.config import ConfigError, Options
from lab.k3s.node import KernelDefaults, NodeMachine
from lab.k3s.paths import MACHINE, READY


@dataclass(frozen=True)
class Host:
    """Who this node is."""

    name: str
    address: str
    machine: NodeMachine

    @classmethod
    def detect(cls, options: Options) -> "Host":
        """Read name and address from the settings, else from the machine."""
        raw = json.loads(MACHINE.read_text()) if MACHINE.exists() else {}
        name = (options.text("node-name") or socket.gethostname()).lower()
        address = options.text("node-ip") or str(raw.get("address", "")).partition("/")[0] or _first_address()
        fallback = {"name": name, "cores": os.cpu_count() or 1, "memory_mib": 4096}
        return cls(name, address, NodeMachine.read({**fallback, **raw}))


def _first_address() -> str:
    shown = subprocess.run(
        ["ip", "-j", "-4", "address", "show", "scope", "global"], check=True, capture_output=True, text=True
    ).stdout
    for link in json.loads(shown):
        for address in link.get("addr_info", []):
            return str(address["local"])
    raise ConfigError("no node IP: this host has no global IPv4 address; set node-ip")


def kernel_settings() -> Mapping[str, int]:
    """Return the settings that protect-kernel-defaults judges: what was set in this VM, else what its kernel says."""
    noted = kernel.read_settings()
    settings = {}
    for name in KernelDefaults:
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = noted.get(name) or Path("/proc/sys", name.replace(".", "/")).read_text()
            settings[name] = int(text.split()[0])
    return settings


def announce_ready() -> None:
    """Notify the init system that the unit is up, by sd_notify and by a file."""
    READY.parent.mkdir(parents=True, exist_ok=True)
    READY.touch()
    target = os.environ.get("NOTIFY_SOCKET")
    if target:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + target[1:] if target.startswith("@") else target)
