"""A campus that starts: the state it finds, made to fit its nodes."""

from lab.contracts import LabSpec, PveNode
from lab.proxmox.state import ClusterState, NodeState, User


def reconcile_state(state: ClusterState, spec: LabSpec) -> None:
    """Adapt a loaded state to a campus that starts: its nodes exist, nothing runs, no creation is half done."""
    state.users.setdefault("root@pam", User())
    for node in spec.nodes:
        state.nodes.setdefault(node.name, _installed_node(node, spec))
    for vmid, vm in list(state.vms.items()):
        vm.active, vm.devices = None, []
        if vm.lock == "create":
            # The task died with the campus. A real node would keep the lock until `qm unlock`; the lab has no `qm`.
            del state.vms[vmid]
            state.volumes = {key: volume for key, volume in state.volumes.items() if volume.vmid != vmid}
        vm.lock = None


def _installed_node(node: PveNode, spec: LabSpec) -> NodeState:
    """A node as its installer leaves it: one bridge with its address, the network card below."""
    network: dict[str, dict[str, str | int]] = {
        "eno1": {"iface": "eno1", "type": "eth", "active": 1, "exists": 1, "method": "manual", "method6": "manual"}
    }
    for number, bridge in enumerate(node.bridges):
        network[bridge] = {
            "iface": bridge,
            "type": "bridge",
            "active": 1,
            "autostart": 1,
            "bridge_ports": "eno1" if number == 0 else "",
            "bridge_vlan_aware": 1,
            "method": "static" if number == 0 else "manual",
            "method6": "manual",
        }
        if number == 0:
            network[bridge] |= {
                "address": node.address,
                "netmask": str(spec.cidr.prefixlen),
                "cidr": f"{node.address}/{spec.cidr.prefixlen}",
                "gateway": str(spec.gateway),
            }
    for priority, interface in enumerate(network.values(), start=2):
        interface["priority"] = priority
    return NodeState(dns={"search": "lab", "dns1": str(spec.gateway)}, network=network)
