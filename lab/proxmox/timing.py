"""How long things take on the simulated cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Timing:
    """How long things take, in seconds; all zero in unit tests."""

    durations: Mapping[str, float] = field(default_factory=dict)
    """By task type (`qmcreate`, `qmstart`, `resize`, `download`, ...); a type not named takes no time of its own."""
    lock_timeout: float = 10
    """Wait for a VM's lock, then refuse. Proxmox VE waits ten seconds."""
    linger: float = 0.3
    """A status call waits this long for a running task. Clients poll each second; this spares them most of one."""
