"""Machines that are gone from Proxmox, while the engine's state still has them. Pure: a state in, a state out."""

from collections.abc import Collection

from ops.engine.engine import State

PARTS = ("vm", "host-key", "k3s", "snapshot", "maintenance")
"""Resources that a machine is made of: `<name>-<part>`."""


def without_machines(state: State, names: Collection[str], hosts: Collection[str] = ()) -> State:
    """The state without machines, and the VM, the host key and what ran on each; what waited for them names them no longer.

    Args:
        state: The stack's state.
        names: The machines.
        hosts: Hosts whose images are gone with them.
    """
    resources = state["deployment"].get("resources") or []
    own = {f"{name}-{part}" for name in names for part in PARTS} | {f"{host}-image" for host in hosts}
    gone = {entry["urn"] for entry in resources if entry["urn"].rsplit("::", 1)[1] in own}
    kept = [entry for entry in resources if entry["urn"] not in gone]
    for entry in kept:
        if "dependencies" in entry:
            entry["dependencies"] = [urn for urn in entry["dependencies"] if urn not in gone]
        for key, urns in (entry.get("propertyDependencies") or {}).items():
            entry["propertyDependencies"][key] = [urn for urn in urns or () if urn not in gone]
    state["deployment"]["resources"] = kept
    return state
