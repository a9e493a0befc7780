"""What an update would take away, and the word that allows it. Pure: state and settings in, decisions out."""

from dataclasses import dataclass

from config.hosts import Node, Role
from config.site import Site
from ops.engine.engine import State
from ops.engine.pending_operations import VM

HOLDS = {
    Role.SERVER: "an etcd vote",
    Role.WORKER: "running jobs, local data",
    Role.STORAGE: "Ceph data",
    Role.MAINTENANCE: "the operators' tools",
    Role.DESKTOP: "a student's desktop",
}


@dataclass(frozen=True)
class Removal:
    """A machine that exists and that the settings no longer want.

    Attributes:
        name: Its name.
        urn: Its resource.
        holds: What goes with it.
    """

    name: str
    urn: str
    holds: str


def existing(state: State) -> dict[str, str]:
    """Machines in the state: name -> URN."""
    resources = state["deployment"].get("resources") or []
    return {resource["inputs"]["name"]: resource["urn"] for resource in resources if resource["type"] == VM}


def removals(state: State, site: Site, wanted: tuple[Node, ...]) -> list[Removal]:
    """Machines that an update would delete."""
    keep = {node.name for node in wanted}
    known = {node.name: node for node in site.machines}
    return [
        Removal(name, urn, _holds(known.get(name))) for name, urn in sorted(existing(state).items()) if name not in keep
    ]


def _holds(node: Node | None) -> str:
    if node is None:
        return "unknown: it is no longer in the site's file"
    extra = ", Ceph data" if node.shape.ceph else ""
    return HOLDS[node.role] + extra


def unprotected(state: State, urns: set[str]) -> State:
    """The state with the protection of the given resources taken off."""
    for resource in state["deployment"].get("resources") or []:
        if resource["urn"] in urns:
            resource["protect"] = False
    return state


def without_cluster(state: State) -> State:
    """The state without what lives inside the cluster, which ends with its machines (docs/adr/0016)."""
    resources = state["deployment"].get("resources") or []
    state["deployment"]["resources"] = [entry for entry in resources if not entry["type"].startswith("kubernetes:")]
    return state
