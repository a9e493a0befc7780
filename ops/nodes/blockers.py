"""Why a node must not go: quorum, data, somebody's work. Pure.

A vote has no word that overrules it: without a majority of etcd the cluster is lost for everybody, so the way on is to
mend or replace the member that is down. Data and work may be given up, by whoever says so.
"""

from collections.abc import Iterator, Mapping
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
)

MAX_NAMES = 6
"""Names shown of a long list."""
KEPT_CLASSES = "kubernetes.io/hostname"


class Override(StrEnum):
    """What may be given up, by `--force <word>`."""

    DATA = "data"
    """Local volumes, copies in Ceph."""
    JOBS = "jobs"
    """Running work that nobody restarts elsewhere."""
    BUDGETS = "budgets"
    """PodDisruptionBudgets that hold up a drain."""


@dataclass(frozen=True)
class Blocker:
    """One reason.

    Attributes:
        text: What would be lost, and what to do about it.
        override: The word that overrules it; None for none.
    """

    text: str
    override: Override | None


def find_blockers(picture: NodeFacts) -> list[Blocker]:
    """Everything that speaks against taking the node away, the gravest first."""
    return [
        *quorum_blockers(picture),
        *ceph_blockers(picture),
        *local_volume_blockers(picture),
        *workload_blockers(picture),
    ]


def unresolved(found: list[Blocker], given: set[Override]) -> list[Blocker]:
    """Those that no word overrules."""
    return [objection for objection in found if objection.override not in given]


def quorum_size(members: int) -> int:
    """How many of the members etcd needs."""
    return members // 2 + 1


def server_count_problem(servers: int) -> str:
    """What is wrong with a number of servers; empty for one that etcd makes the most of."""
    if servers in ETCD_SIZES or not servers:
        return ""
    return f"{servers} servers survive no more than {servers - 1}, and need {quorum_size(servers)} of them; etcd wants 1, 3 or 5"


def is_healthy_server(node: Object) -> bool:
    """Ready, and a voter: Ready alone says nothing about etcd (k3s-ansible#562)."""
    return is_ready(node) and has_condition(node, "EtcdIsVoter")


def server_health(nodes: list[Object]) -> dict[str, bool]:
    """Whether each server among the nodes is Ready and votes."""
    return {node["metadata"]["name"]: is_healthy_server(node) for node in nodes if is_server(node)}


def unhealthy_others(health: Mapping[str, bool], name: str) -> list[str]:
    """Servers that are not well, this one left out: with it they would be missing at the same time."""
    return sorted(other for other, well in health.items() if not well and other != name)


def quorum_blockers(picture: NodeFacts) -> Iterator[Blocker]:
    """Without a majority etcd stops; the member is switched off before its vote goes, so both moments are looked at."""
    if picture.node is None or not is_server(picture.node):
        return
    health = server_health(picture.nodes)
    sick = unhealthy_others(health, picture.name)
    well = len(health) - 1 - len(sick)
    if len(health) == 1:
        text = "it is the only server: the cluster ends with it. To move a cluster: ./lyceum backup now, then restore"
        yield Blocker(text, None)
    elif sick and health[picture.name]:
        text = f"{well + 1}/{len(health)} etcd members are healthy, and this is one of them; first mend or replace "
        yield Blocker(text + _join_names(sick), None)
    elif well < quorum_size(len(health)):
        text = (
            f"etcd needs {quorum_size(len(health))} of its {len(health)} members, and without this one {well} "
            f"{'is' if well == 1 else 'are'} healthy"
        )
        if len(health) == 2:
            text += "; add a server first: two members stand or fall together"
        yield Blocker(text, None)


def ceph_blockers(picture: NodeFacts) -> Iterator[Blocker]:
    """Copies must have somewhere to go, and none may be missing already; Rook itself asks `safe-to-destroy` later."""
    own = picture.own_osds
    if not own or picture.ceph is None:
        return
    health = picture.ceph.get("status", {}).get("ceph", {}).get("health", "unknown")
    # What a goodbye has begun warns by itself; it waits for the copies anyway, wherever it goes on.
    if health != "HEALTH_OK" and not (picture.removal_in_progress and health == "HEALTH_WARN"):
        yield Blocker(f"it holds {len(own)} OSD(s) and Ceph is {health}: let it finish its repair first", Override.DATA)
    hosts = {osd["spec"]["template"]["spec"]["nodeSelector"][HOSTNAME_LABEL] for osd in picture.osds} - {picture.name}
    if (copies := _max_replicas(picture)) > len(hosts):
        yield Blocker(
            f"it holds {len(own)} OSD(s): a pool keeps {copies} copies on different hosts, and {len(hosts)} would remain; "
            f"add a node with a `ceph` disk first",
            Override.DATA,
        )


def _max_replicas(picture: NodeFacts) -> int:
    """The most copies that any pool or file system keeps."""
    sizes = [1]
    for item in picture.pools:
        spec = item["spec"]
        parts = [spec, spec.get("metadataPool") or {}, *(spec.get("dataPools") or [])]
        sizes += [int(part["replicated"]["size"]) for part in parts if part.get("replicated")]
    return max(sizes)


def local_volume_blockers(picture: NodeFacts) -> Iterator[Blocker]:
    """Volumes that exist on this node alone."""
    claims = sorted(
        f"{claim['namespace']}/{claim['name']}"
        for volume in picture.volumes
        if (claim := volume["spec"].get("claimRef")) and volume_nodes(volume) == {picture.name}
    )
    if claims:
        yield Blocker(
            f"local volumes go with it: {_join_names(claims)}; copy them, or delete the claims", Override.DATA
        )


def volume_nodes(volume: Object) -> set[str]:
    """Nodes that a volume can be used on; empty for "any"."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    found: set[str] = set()
    for term in required.get("nodeSelectorTerms") or []:
        for expression in term.get("matchExpressions") or []:
            if expression["key"] == KEPT_CLASSES and expression["operator"] == "In":
                found |= set(expression["values"])
    return found


def workload_blockers(picture: NodeFacts) -> Iterator[Blocker]:
    """Work that ends with its pod: jobs, notebooks and other pods that nobody starts anew somewhere else."""
    found = sorted(_describe_workload(pod) for pod in picture.pods if is_user_workload(pod))
    if found:
        text = f"work runs on it: {_join_names(found)}; `./lyceum node drain` keeps new work away while it ends"
        yield Blocker(text, Override.JOBS)


def is_user_workload(pod: Object) -> bool:
    """Whether a pod is somebody's work: of a Job, or of nothing (a notebook)."""
    return controller_kind(pod) in {"Job", ""}


def count_gpus(pod: Object) -> int:
    """GPUs, whole or sliced, that a pod holds."""
    containers = pod["spec"].get("containers") or []
    limits = [(container.get("resources") or {}).get("limits") or {} for container in containers]
    return sum(int(count) for limit in limits for key, count in limit.items() if key.startswith("nvidia.com/"))


def _describe_workload(pod: Object) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    user = annotations.get("hub.jupyter.org/username", "")
    gpus = count_gpus(pod)
    details = [*([f"of {user}"] if user else []), *([f"{gpus} GPU"] if gpus else [])]
    return namespaced_name(pod) + (f" ({', '.join(details)})" if details else "")


def _join_names(names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown
