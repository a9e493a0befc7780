"""What blocks the removal of a node: etcd's quorum, data, running work. Pure.

Quorum has no override: without it the whole cluster is lost, so the member that is down has to be repaired or replaced
first. The loss of data and work can be accepted by an explicit override.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from config.rules.cluster import ETCD_SIZES
from ops.clients.kubernetes import Object
from ops.nodes.facts import (
    HOSTNAME_LABEL,
    NodeFacts,
    controller_kind,
    has_condition,
    is_ready,
    is_server,
    namespaced_name,
    osd_host,
)

MAX_NAMES = 6
"""Names that a message lists before it counts the rest."""


class Override(StrEnum):
    """What may be lost, as given with `--force <override>`."""

    DATA = "data"
    """Local volumes, and replicas in Ceph."""
    JOBS = "jobs"
    """Running work that no controller restarts elsewhere."""
    BUDGETS = "budgets"
    """PodDisruptionBudgets that would delay a drain."""


@dataclass(frozen=True)
class Blocker:
    """One reason not to remove a node.

    Attributes:
        text: What would be lost, and what to do about it.
        override: The override that accepts it; None if nothing does.
    """

    text: str
    override: Override | None


def find_blockers(facts: NodeFacts) -> list[Blocker]:
    """Everything that blocks the removal of the node, the most serious first."""
    return [
        *quorum_blockers(facts),
        *ceph_blockers(facts),
        *local_volume_blockers(facts),
        *workload_blockers(facts),
    ]


def unresolved(blockers: list[Blocker], overrides: Collection[Override]) -> list[Blocker]:
    """The blockers that none of the overrides accepts."""
    return [blocker for blocker in blockers if blocker.override not in overrides]


def quorum_size(members: int) -> int:
    """Members that etcd needs to make progress."""
    return members // 2 + 1


def server_count_problem(servers: int) -> str:
    """Why a number of servers is a poor choice; empty if it is not."""
    if servers in ETCD_SIZES or not servers:
        return ""
    return f"{servers} servers tolerate no more failures than {servers - 1}; etcd works best with 1, 3 or 5 members"


def is_healthy_server(node: Object) -> bool:
    """Whether a server is Ready and a voting etcd member; Ready alone does not include etcd (k3s-ansible#562)."""
    return is_ready(node) and has_condition(node, "EtcdIsVoter")


def server_health(nodes: list[Object]) -> dict[str, bool]:
    """Whether each server among the nodes is healthy, by name."""
    return {node["metadata"]["name"]: is_healthy_server(node) for node in nodes if is_server(node)}


def unhealthy_others(health: Mapping[str, bool], name: str) -> list[str]:
    """Other servers that are unhealthy: they would be missing together with this one."""
    return sorted(other for other, healthy in health.items() if not healthy and other != name)


def quorum_blockers(facts: NodeFacts) -> Iterator[Blocker]:
    """Whether etcd keeps its quorum, also between the shutdown of the member and its removal from etcd."""
    if facts.node is None or not is_server(facts.node):
        return
    health = server_health(facts.nodes)
    unhealthy = unhealthy_others(health, facts.name)
    remaining = len(health) - 1 - len(unhealthy)
    if len(health) == 1:
        text = "it is the only server, and the cluster is lost with it. To move a cluster: ./lyceum backup now, then restore"
        yield Blocker(text, None)
    elif unhealthy and health[facts.name]:
        text = (
            f"{remaining + 1}/{len(health)} etcd members are healthy, and this is one of them; first repair or replace "
        )
        yield Blocker(text + join_names(unhealthy), None)
    elif remaining < quorum_size(len(health)):
        text = (
            f"etcd needs {quorum_size(len(health))} of its {len(health)} members, and without this one only {remaining} "
            f"{'is' if remaining == 1 else 'are'} healthy"
        )
        if len(health) == 2:
            text += "; add a server first: a cluster of two members tolerates no failure"
        yield Blocker(text, None)


def ceph_blockers(facts: NodeFacts) -> Iterator[Blocker]:
    """Whether Ceph is healthy and can place all replicas elsewhere; Rook itself asks `safe-to-destroy` later."""
    own = facts.own_osds
    if not own or facts.ceph is None:
        return
    health = facts.ceph.get("status", {}).get("ceph", {}).get("health", "unknown")
    # An interrupted removal causes a warning itself; the purge waits for the replicas in any case.
    if health != "HEALTH_OK" and not (facts.removal_in_progress and health == "HEALTH_WARN"):
        yield Blocker(f"it holds {len(own)} OSD(s) and Ceph is {health}: wait until Ceph has recovered", Override.DATA)
    others = {osd_host(osd) for osd in facts.osds} - {facts.name}
    if (replicas := _max_replicas(facts)) > len(others):
        yield Blocker(
            f"it holds {len(own)} OSD(s): a pool keeps {replicas} replicas on different nodes, and {len(others)} would remain; "
            f"add a node with a `ceph` disk first",
            Override.DATA,
        )


def _max_replicas(facts: NodeFacts) -> int:
    """The largest replica count of any pool or file system."""
    sizes = [1]
    for item in facts.pools:
        spec = item["spec"]
        parts = [spec, spec.get("metadataPool") or {}, *(spec.get("dataPools") or [])]
        sizes += [int(part["replicated"]["size"]) for part in parts if part.get("replicated")]
    return max(sizes)


def local_volume_blockers(facts: NodeFacts) -> Iterator[Blocker]:
    """PersistentVolumes that exist only on this node."""
    claims = sorted(
        f"{claim['namespace']}/{claim['name']}"
        for volume in facts.volumes
        if (claim := volume["spec"].get("claimRef")) and volume_nodes(volume) == {facts.name}
    )
    if claims:
        yield Blocker(
            f"local volumes would be lost: {join_names(claims)}; copy them, or delete the claims", Override.DATA
        )


def volume_nodes(volume: Object) -> set[str]:
    """Nodes to which a volume's affinity restricts it; empty for no restriction."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    found: set[str] = set()
    for term in required.get("nodeSelectorTerms") or []:
        for expression in term.get("matchExpressions") or []:
            if expression["key"] == HOSTNAME_LABEL and expression["operator"] == "In":
                found |= set(expression["values"])
    return found


def workload_blockers(facts: NodeFacts) -> Iterator[Blocker]:
    """Work that ends with its pod: jobs, notebooks and other pods that no controller recreates elsewhere."""
    found = sorted(_describe_workload(pod) for pod in facts.pods if is_user_workload(pod))
    if found:
        text = f"work runs on it: {join_names(found)}; `./lyceum node drain` cordons the node, so that it can finish"
        yield Blocker(text, Override.JOBS)


def is_user_workload(pod: Object) -> bool:
    """Whether a pod is a user's work: it belongs to a Job or to no controller (a notebook)."""
    return controller_kind(pod) in {"Job", ""}


def user_workloads(pods: Iterable[Object], node: str) -> list[Object]:
    """Users' pods on a node."""
    return [pod for pod in pods if pod["spec"].get("nodeName") == node and is_user_workload(pod)]


def format_workloads(pods: int, gpus: int) -> str:
    """`2 pods, 1 GPU`; empty without pods."""
    return f"{pods} pod{'' if pods == 1 else 's'}, {gpus} GPU{'' if gpus == 1 else 's'}" if pods else ""


def count_gpus(pod: Object) -> int:
    """GPUs and GPU slices that a pod uses."""
    containers = pod["spec"].get("containers") or []
    limits = [(container.get("resources") or {}).get("limits") or {} for container in containers]
    return sum(int(count) for limit in limits for key, count in limit.items() if key.startswith("nvidia.com/"))


def _describe_workload(pod: Object) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    user = annotations.get("hub.jupyter.org/username", "")
    gpus = count_gpus(pod)
    details = [*([f"of {user}"] if user else []), *([f"{gpus} GPU"] if gpus else [])]
    return namespaced_name(pod) + (f" ({', '.join(details)})" if details else "")


def join_names(names: list[str]) -> str:
    """`a, b and 3 more`."""
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown
