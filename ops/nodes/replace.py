"""Replaces a machine by a new one of the same name: decommissioned, then created again by the engine. Can be repeated.

The progress of a replacement is read from what exists: the host key identifies a machine, so a machine with another key
than the one recorded at the start has been created again already, and only the remaining steps are left.
"""

from config.errors import OperationRefusedError
from config.hosts import Node, Role
from config.resource_names import Part, resource_name
from ops import audit_log
from ops.console import step
from ops.engine.engine import Engine, Plan
from ops.engine.pulumi_state import State, Vm
from ops.nodes.cluster import connect_to_cluster
from ops.nodes.remove import RemovalRequest, remove_nodes
from ops.nodes.vm import prepare_deletion

DELETING_OPERATIONS = {"delete", "replace", "create-replacement", "delete-replaced", "discard", "discard-replaced"}
"""Operations of the engine that delete something."""


def prepare_replacement(engine: Engine, request: RemovalRequest) -> list[str]:
    """Does everything before the engine creates the machine again; returns the URNs that the engine has to replace."""
    (name,) = request.names
    state = engine.export()
    vm, key = state.vms.get(name), state.host_keys.get(name, "")
    if vm is None or is_recreated(list(audit_log.read_entries(engine.stack.name)), name, key):
        # An earlier run got this far: the engine finishes it.
        return []
    # Before anything is recorded: without the API it is unknown what would be lost.
    connect_to_cluster(engine)
    if name == first_server(engine.stack.nodes):
        pin_cluster_ca(engine, state)
    engine.replace_state(state.unprotected({vm.urn}))
    _refuse_collateral(engine, vm)
    remove_nodes(engine, request, host_key=key)
    state = prepare_deletion(engine, engine.export(), [vm])
    engine.replace_state(state)
    return [vm.urn] if name in state.vms else []


def first_server(nodes: tuple[Node, ...]) -> str:
    """The server that starts a cluster if none exists: the first in the site's file."""
    return next((node.name for node in nodes if node.role is Role.SERVER), "")


def misplaced_first_server(nodes: tuple[Node, ...], state: State) -> str:
    """A new server that is listed before those of a running cluster, and would start a second one; empty if none is."""
    first = first_server(nodes)
    return first if state.stack_outputs.get("cluster_ca") and first not in state.vms else ""


def is_recreated(entries: list[audit_log.Entry], name: str, key: str) -> bool:
    """Whether the last replacement of a machine is unfinished and the machine has a new host key already."""
    for entry in reversed(entries):
        if entry["operation"] == "replaced" and name in entry["nodes"]:
            return False
        if entry["operation"] == "replace" and name in entry["nodes"]:
            return bool(entry["host_key"]) and entry["host_key"] != key
    return False


def record_replaced(engine: Engine, name: str) -> None:
    """Records the end of a replacement, so that the next `replace` starts another one."""
    audit_log.record_operation(engine.stack.name, "replaced", {"nodes": [name]})


def pin_cluster_ca(engine: Engine, state: State) -> None:
    """Pins the cluster's CA in the stack: a first server without data joins only the cluster with this CA (node.sh)."""
    if authority := state.stack_outputs.get("cluster_ca"):
        engine.stack.set("cluster-ca", authority)


def _refuse_collateral(engine: Engine, vm: Vm) -> None:
    """Refuses if the engine would delete more than this machine."""
    with step("check what the engine would delete"):
        plan = engine.plan_replacement(vm.urn)
    if collateral := sorted(find_collateral(plan, vm.name)):
        raise OperationRefusedError(
            f"replacing {vm.name} would also delete {', '.join(collateral)}; nothing was deleted. ./lyceum preview "
            f"{engine.stack.name} shows the pending changes; apply them first: ./lyceum up {engine.stack.name}"
        )


def find_collateral(plan: Plan, name: str) -> set[str]:
    """Names of resources other than the machine that a plan deletes or replaces.

    Commands do not count: a replaced one runs again, and every command of Lyceum changes only what differs.
    """
    urns = [step["urn"] for step in plan.get("steps") or [] if step["op"] in DELETING_OPERATIONS]
    deleted = {urn.rsplit("::", 1)[1] for urn in urns if "command:" not in urn.split("::")[2].rpartition("$")[2]}
    return deleted - {resource_name(name, Part.VM)}
