"""Planned settings: accepted and validated, but no component reads them yet. Remove an entry with the component that reads it.

`validate` warns where a site sets one, `show` and docs/reference/site.md mark them, and their secrets are not required.
"""

from collections.abc import Iterator

from config.finding import FieldPath
from config.yaml_source import Document

PLANNED: dict[str, str] = {
    "shapes.<name>.scratch": "R26",  # so far a raw disk and a label: no storage class offers it
    "desktops": "R8",
    "identity.authentik": "R12, R26",
    "identity.roles": "R15",
    "tenants": "R2, R16, R44",
    "calendar": "R10, R11",
    "nodes[].shift": "R10, R11",
    "nodes[].devices": "R19, R37",
    "hosts[].devices": "R19, R37",
    "hosts[].power": "R41",
    "hosts[].mac": "R41",
    "hosts[].bmc": "R41",
    "network.ntp": "R22",
    "network.proxy": "R14",
    "k3s.mirrors": "R14",
    "k3s.embedded-registry": "R14",
    "platform.certificates.certificate-file": "R25",
    "platform.storage.datasets": "R26, R39",
    "platform.queues.queues": "R36",
    "platform.queues.priorities": "R36",
    "platform.queues.preemption": "R36",
    "platform.monitoring.notifications": "R20, R34",
    "platform.logging": "R13",
    "platform.backup.velero": "R34",
    "platform.registry": "R14",
    "platform.tunnel": "R17",
    "platform.rancher": "R6, R32",
    "platform.high-throughput": "R19, R43",
    "platform.power": "R41",
    "platform.costs": "R34, R40",
    "workspaces.triton": "R42",
    "workspaces.jupyterhub.database": "R26",
    "workspaces.jupyterhub.schedulers": "R26",
    "workspaces.jupyterhub.idle": "R3",
    "workspaces.jupyterhub.test-host": "R25",
    "workspaces.jupyterhub.profiles[].default": "R26",
}
"""Path in the model -> the requirements that it will meet."""


def path_pattern(place: FieldPath) -> str:
    """The path in the model, for every item of a list and every name of a mapping.

    `("nodes", 2, "shift")` -> `nodes[].shift`; `("shapes", "gpu", "scratch")` -> `shapes.<name>.scratch`.
    """
    if place[:1] == ("shapes",) and len(place) > 1:
        place = ("shapes", "<name>", *place[2:])
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def find_planned(place: FieldPath) -> str | None:
    """The planned setting that contains this path, or None where a component reads it."""
    for length in range(1, len(place) + 1):
        if (found := path_pattern(place[:length])) in PLANNED:
            return found
    return None


def planned_settings(document: Document) -> Iterator[tuple[str, int]]:
    """Planned settings that a file sets, each once, with the line where it is set first."""
    seen: set[str] = set()
    for place, line in document.lines.items():
        found = find_planned(place)
        if found and found not in seen:
            seen.add(found)
            yield found, line
