"""Packages of a node's operating system: their state, and the scripts that read and upgrade them. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.cluster.bootstrap import assemble

PACKAGES_SH = (Path(__file__).parent / "os_packages.sh").read_text()
LOCK_SECONDS = 600
"""How long another process may hold dpkg's lock: a nightly upgrade of a large machine takes minutes."""
DRIVER_PACKAGES = re.compile(r"^(linux-(image|headers|modules)|nvidia-|libnvidia-|.*-dkms$|firmware-|linux-firmware)")
"""Packages that the GPU driver depends on: the operator builds it against the running kernel."""
KERNEL_PACKAGE = re.compile(r"^linux-image")
_PENDING = re.compile(r"(?P<name>\S+)(?: \[(?P<old>[^]]*)\])? \((?P<new>\S+)(?P<origin>[^)]*)\)")


@dataclass(frozen=True)
class PendingPackage:
    """A package with a newer version in the archive.

    Attributes:
        name: Its name.
        old: The installed version; empty for a package that would be added.
        new: The version in the archive.
        security: Whether it comes from the security archive.
    """

    name: str
    old: str
    new: str
    security: bool


@dataclass(frozen=True)
class NodePackages:
    """The state of a node's packages.

    Attributes:
        pending: Packages that would be upgraded or added.
        held: Packages that are held back with `apt-mark hold`.
        unfinished: Packages that are unpacked or half configured by an interrupted or failed upgrade.
        reboot: What requires a reboot now.
        unattended: Whether unattended upgrades are enabled.
        stale: Why the package lists could not be updated; empty if they were.
    """

    pending: tuple[PendingPackage, ...] = ()
    held: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()
    unattended: bool = False
    stale: str = ""

    @property
    def needs_upgrade(self) -> bool:
        """Whether the node has something to install, finish or reboot for."""
        return bool(self.pending or self.unfinished or self.reboot)

    @property
    def security_count(self) -> int:
        """Number of pending security updates."""
        return sum(one.security for one in self.pending)

    @property
    def driver_packages(self) -> tuple[str, ...]:
        """Pending packages that the GPU driver depends on."""
        return tuple(one.name for one in self.pending if DRIVER_PACKAGES.match(one.name))

    @property
    def will_reboot(self) -> bool:
        """Whether a reboot is certain; other packages may require one after their installation."""
        return bool(self.reboot) or any(KERNEL_PACKAGE.match(one.name) for one in self.pending)


def package_script(*calls: str) -> str:
    """A script with the functions of os_packages.sh and these calls of them."""
    return assemble([PACKAGES_SH, *(f"{call}\n" for call in calls)])


def parse_survey(text: str) -> NodePackages:
    """Parses the output of `survey`."""
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


def find_warnings(packages: dict[str, NodePackages], *, precompiled: bool, gpu_nodes: frozenset[str]) -> Iterator[str]:
    """Warnings before packages are upgraded.

    Args:
        packages: The state of each node's packages.
        precompiled: Whether the GPU Operator uses precompiled drivers.
        gpu_nodes: Names of the nodes with GPUs.
    """
    if active := [name for name, one in packages.items() if one.unattended]:
        yield (
            f"{', '.join(active)} upgrade themselves (APT::Periodic::Unattended-Upgrade), which has restarted nodes during "
            f"classes: ./lyceum up writes /etc/apt/apt.conf.d/90-lyceum, which disables it, unless a later file there enables it "
            f"again"
        )
    if broken := {name: one.unfinished for name, one in packages.items() if one.unfinished}:
        details = "; ".join(f"{name}: {', '.join(names)}" for name, names in broken.items())
        yield f"packages are partly installed, and are finished first ({details})"
    for name, one in packages.items():
        if one.held:
            yield f"{name} holds back {', '.join(one.held)} (apt-mark unhold releases them)"
        if one.stale:
            yield f"{name}: the package lists are out of date: {one.stale}"
    if kernels := [name for name, one in packages.items() if one.driver_packages and name in gpu_nodes]:
        driver = (
            "a precompiled driver must exist for the new kernel (driver.usePrecompiled), or the node has no GPU after its reboot"
            if precompiled
            else "the operator rebuilds its driver for it, which takes minutes per node and needs the kernel's headers"
        )
        yield f"{', '.join(kernels)} get a new kernel or driver package: {driver}"
