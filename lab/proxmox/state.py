"""Everything that the simulated cluster remembers, and its file.

One JSON document, replaced atomically, so that a campus killed at any moment finds a whole state when it starts again.
Secrets are kept as SHA-256 digests only.
"""

import os
import time
from pathlib import Path

from pydantic import BaseModel, Field

Config = dict[str, str | int]
"""Options of a VM as they are stored: numbers where the API answers with numbers."""


class Volume(BaseModel):
    """A disk image or file on a storage."""

    content: str
    format: str
    size: int
    """Bytes that the volume presents."""
    written: int
    """Bytes that it occupies; thin storages count only these."""
    created: int = Field(default_factory=lambda: int(time.time()))
    vmid: int | None = None


class Vm(BaseModel):
    """A virtual machine."""

    node: str
    config: Config
    """As `GET config` returns it: pending changes included."""
    active: Config | None = None
    """The configuration that the running machine was started with, None while it is off."""
    lock: str | None = None
    """`create` while a task owns the configuration."""
    devices: list[str] = Field(default_factory=list)
    """PCI addresses reserved while it runs."""
    started: float = 0
    """Time of power-on, seconds since the epoch."""


class ApiToken(BaseModel):
    """An API token of a user."""

    digest: str
    privsep: bool = True


class User(BaseModel):
    """An account; its password is kept as digest, empty for none."""

    digest: str = ""
    enable: bool = True
    tokens: dict[str, ApiToken] = Field(default_factory=dict)


class AclEntry(BaseModel):
    """One role on one path for one user or token."""

    path: str
    type: str
    ugid: str
    roleid: str
    propagate: bool = True

    def same_grant(self, other: "AclEntry") -> bool:
        """Whether both grant the same role on the same path to the same user or token."""
        return self.model_copy(update={"propagate": other.propagate}) == other


class Pool(BaseModel):
    """A resource pool."""

    comment: str = ""
    vms: list[int] = Field(default_factory=list)


class PciMapping(BaseModel):
    """A PCI resource mapping; entries are property strings as the API takes them."""

    map: list[str]
    description: str = ""
    mdev: bool = False


class TaskRecord(BaseModel):
    """A task, running or finished."""

    upid: str
    node: str
    type: str
    id: str
    user: str
    pid: int
    pstart: int
    starttime: int
    endtime: int | None = None
    exitstatus: str | None = None
    """None while it runs."""
    log: list[str] = Field(default_factory=list)


class ClusterState(BaseModel):
    """The cluster."""

    vms: dict[int, Vm] = Field(default_factory=dict)
    volumes: dict[str, Volume] = Field(default_factory=dict)
    """By `<node>/<storage>:<name>`; no storage is shared."""
    pools: dict[str, Pool] = Field(default_factory=dict)
    mappings: dict[str, PciMapping] = Field(default_factory=dict)
    users: dict[str, User] = Field(default_factory=dict)
    roles: dict[str, list[str]] = Field(default_factory=dict)
    """Custom roles only; the built-in ones are in `privileges.BUILTIN_ROLES`."""
    acl: list[AclEntry] = Field(default_factory=list)
    tasks: dict[str, TaskRecord] = Field(default_factory=dict)

    def pool_of(self, vmid: int) -> str | None:
        """The pool that holds a VM."""
        return next((name for name, pool in self.pools.items() if vmid in pool.vms), None)


def load_state(path: Path) -> ClusterState | None:
    """Read a state file; None when there is none yet."""
    return ClusterState.model_validate_json(path.read_bytes()) if path.exists() else None


def reconcile_state(state: ClusterState) -> None:
    """Adapt a loaded state to a campus that starts: nothing runs, no creation is half done."""
    state.users.setdefault("root@pam", User())
    for vmid, vm in list(state.vms.items()):
        vm.active, vm.devices = None, []
        if vm.lock == "create":
            # The task died with the campus. A real node would keep the lock until `qm unlock`; the lab has no `qm`.
            del state.vms[vmid]
            state.volumes = {key: volume for key, volume in state.volumes.items() if volume.vmid != vmid}
        vm.lock = None


def save_state(state: ClusterState, path: Path) -> None:
    """Replace the state file atomically; readable by its owner only."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(state.model_dump_json())
    partial.replace(path)
