"""Packages of a node's operating system: what it lacks, and the scripts that look and act. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.cluster.bootstrap import assemble

PACKAGES_SH = (Path(__file__).parent / "os_packages.sh").read_text()
LOCK_SECONDS = 600
"""How long somebody else may hold dpkg's lock: a nightly upgrade of a large machine takes minutes."""
DRIVER_PACKAGES = re.compile(r"^(linux-(image|headers|modules)|nvidia-|libnvidia-|.*-dkms$|firmware-|linux-firmware)")
"""Packages that a GPU's driver depends on: the operator's driver is built against the running kernel."""
KERNEL_PACKAGE = re.compile(r"^linux-image")
_PENDING = re.compile(r"(?P<name>\S+)(?: \[(?P<old>[^]]*)\])? \((?P<new>\S+)(?P<origin>[^)]*)\)")


@dataclass(frozen=True)
class PendingPackage:
    """A package that the archive has in a newer version.

    Attributes:
        name: Its name.
        old: What is installed; empty for one that comes new.
        new: What the archive has.
        security: Whether the security archive has it.
    """

    name: str
    old: str
    new: str
    security: bool


@dataclass(frozen=True)
class NodePackages:
    """What a node lacks.

    Attributes:
        pending: Packages that would be upgraded or come new.
        held: Packages that somebody holds back by `apt-mark hold`.
        unfinished: Packages that are unpacked or half configured: an upgrade that was cut or failed.
        reboot: What asks for a reboot now.
        unattended: Whether the node upgrades itself whenever it likes.
        stale: Why the lists are not of now; empty where they are.
    """

    pending: tuple[PendingPackage, ...] = ()
    held: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()
    unattended: bool = False
    stale: str = ""

    @property
    def needs_upgrade(self) -> bool:
        """Whether there is something to do."""
        return bool(self.pending or self.unfinished or self.reboot)

    @property
    def security_count(self) -> int:
        """How many of the pending packages mend a security hole."""
        return sum(one.security for one in self.pending)

    @property
    def driver_packages(self) -> tuple[str, ...]:
        """Pending packages that a GPU's driver depends on."""
        return tuple(one.name for one in self.pending if DRIVER_PACKAGES.match(one.name))

    @property
    def will_reboot(self) -> bool:
        """Whether a reboot is certain; other packages may ask for one once they are installed."""
        return bool(self.reboot) or any(KERNEL_PACKAGE.match(one.name) for one in self.pending)


def package_script(*calls: str) -> str:
    """A script of the functions and these calls."""
    return assemble([PACKAGES_SH, *(f"{call}\n" for call in calls)])


def parse_survey(text: str) -> NodePackages:
    """Reads what `survey` prints."""
    facts: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        facts.setdefault(key, []).append(rest)
    matches = (_PENDING.match(line) for line in facts.get("pending", ()))
    return NodePackages(
        pending=tuple(
            PendingPackage(found["name"], found["old"] or "", found["new"], "-security" in found["origin"])
            for found in matches
            if found
        ),
        held=tuple(facts.get("held", ())),
        unfinished=tuple(facts.get("unfinished", ())),
        reboot=tuple(facts.get("reboot", ())),
        unattended="unattended" in facts,
        stale=" ".join(facts.get("stale", ())),
    )


def notes(found: dict[str, NodePackages], *, precompiled: bool, gpu_nodes: frozenset[str]) -> Iterator[str]:
    """What is worth knowing before packages are upgraded.

    Args:
        found: What each node lacks.
        precompiled: Whether the GPU Operator takes precompiled drivers.
        gpu_nodes: Nodes with GPUs.
    """
    if active := [name for name, one in found.items() if one.unattended]:
        yield (
            f"{', '.join(active)} upgrade themselves whenever they like (APT::Periodic::Unattended-Upgrade), which has restarted "
            f"nodes in the middle of classes: ./lyceum up writes /etc/apt/apt.conf.d/90-lyceum, which ends it; a file behind "
            f"that one undoes it"
        )
    if broken := {name: one.unfinished for name, one in found.items() if one.unfinished}:
        told = "; ".join(f"{name}: {', '.join(names)}" for name, names in broken.items())
        yield f"packages are half installed, and are finished first ({told})"
    for name, one in found.items():
        if one.held:
            yield f"{name} holds back {', '.join(one.held)} (apt-mark unhold lets them go on)"
        if one.stale:
            yield f"{name}: the package lists are not of now: {one.stale}"
    if kernels := [name for name, one in found.items() if one.driver_packages and name in gpu_nodes]:
        driver = (
            "a precompiled driver must exist for the new kernel (driver.usePrecompiled), or the node has no GPU after its reboot"
            if precompiled
            else "the operator's driver is built anew for it, which takes minutes a node and needs the kernel's headers"
        )
        yield f"{', '.join(kernels)} get another kernel or driver package: {driver}"
