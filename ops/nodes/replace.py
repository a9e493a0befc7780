"""Replaces a machine by one of the same name: goodbye, then made anew by the engine. Safe to interrupt and repeat.

How far a replacement came is read from reality: the machine's host key is its identity, so a machine that shows another
key than the one noted when the word was given has been made anew already, and only what follows is left to do.
"""

from config.errors import OperationRefusedError
from config.hosts import Node, Role
from config.resource_names import Part, resource_name
from ops import audit_log
from ops.console import step
from ops.engine.engine import Engine, Plan
from ops.engine.pulumi_state import State, Vm
from ops.nodes.remove import RemovalRequest, connect_to_cluster, remove_nodes
from ops.nodes.vm import prepare_deletion

DELETING_OPERATIONS = {"delete", "replace", "create-replacement", "delete-replaced", "discard", "discard-replaced"}
"""Operations of the engine after which something is gone."""


def prepare_replacement(engine: Engine, wish: RemovalRequest) -> list[str]:
    """Everything before the engine makes the machine anew; returns the engine's arguments."""
    (name,) = wish.names
    state = engine.export()
    machine, key = state.vms.get(name), state.host_keys.get(name, "")
    if machine is None or is_recreated(list(audit_log.read_entries(engine.stack.name)), name, key):
        # An earlier run got this far: the engine finishes it.
        return []
    # Before anything is written down: without the API nobody knows what would be lost.
    connect_to_cluster(engine)
    if name == first_server(engine.stack.nodes):
        pin_cluster_ca(engine, state)
    engine.replace_state(state.unprotected({machine.urn}))
    _refuse_collateral(engine, machine)
    remove_nodes(engine, wish, host_key=key)
    left = prepare_deletion(engine, engine.export(), [machine])
    engine.replace_state(left)
    return [machine.urn] if name in left.vms else []


def first_server(nodes: tuple[Node, ...]) -> str:
    """The server that starts a cluster where none exists: the first of the file."""
    return next((node.name for node in nodes if node.role is Role.SERVER), "")


def misplaced_first_server(nodes: tuple[Node, ...], state: State) -> str:
    """A new server that stands before those of a running cluster, and would have to found another. Empty if none does."""
    first = first_server(nodes)
    return first if state.stack_outputs.get("cluster_ca") and first not in state.vms else ""


def is_recreated(entries: list[audit_log.Entry], name: str, key: str) -> bool:
    """Whether the last replacement of a machine, never noted as ended, has already given it another host key."""
    for entry in reversed(entries):
        if entry["operation"] == "replaced" and name in entry["nodes"]:
            return False
        if entry["operation"] == "replace" and name in entry["nodes"]:
            return bool(entry["host_key"]) and entry["host_key"] != key
    return False


def record_replaced(engine: Engine, name: str) -> None:
    """Notes the end, so that the next `replace` means another one."""
    audit_log.record_operation(engine.stack.name, "replaced", {"nodes": [name]})


def pin_cluster_ca(engine: Engine, state: State) -> None:
    """Pins the cluster's CA: a first server without data joins only the cluster that shows it (node.sh, founder)."""
    if authority := state.stack_outputs.get("cluster_ca"):
        engine.stack.set("cluster-ca", authority)


def _refuse_collateral(engine: Engine, machine: Vm) -> None:
    """Refuses where the engine would take more away than this machine."""
    with step("ask the engine what goes with it"):
        plan = engine.plan_replacement(machine.urn)
    if more := sorted(find_collateral(plan, machine.name)):
        raise OperationRefusedError(
            f"replacing {machine.name} would also take away {', '.join(more)}; nothing was deleted. Run ./lyceum preview "
            f"{engine.stack.name} to see other changes that wait, and bring them in first: ./lyceum up {engine.stack.name}"
        )


def find_collateral(plan: Plan, name: str) -> set[str]:
    """Names of resources other than the machine that a plan deletes or replaces.

    Commands do not count: one that is replaced runs anew, and every one of ours changes only what differs.
    """
    urns = [step["urn"] for step in plan.get("steps") or [] if step["op"] in DELETING_OPERATIONS]
    taken = {urn.rsplit("::", 1)[1] for urn in urns if "command:" not in urn.split("::")[2].rpartition("$")[2]}
    return taken - {resource_name(name, Part.VM)}
