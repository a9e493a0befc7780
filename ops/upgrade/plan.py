"""What an upgrade has to do, and why it must not begin. Pure: nodes and pods in, order out.

How far an upgrade came is what the nodes run; nothing else is remembered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ops.clients.kubernetes import Object
from ops.nodes.blockers import count_gpus, is_healthy_server, is_user_workload
from ops.nodes.facts import is_ready, is_server

KUBELET_SKEW = 3
"""A kubelet may be this many minors older than the API server, and never newer (Kubernetes version skew policy)."""


@dataclass(frozen=True, order=True)
class Version:
    """A K3s release, `v1.36.4+k3s1`, in its order."""

    major: int
    minor: int
    patch: int
    build: int

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Reads a release; a kubelet without K3s's suffix counts as build 0."""
        kubernetes, _, build = text.removeprefix("v").partition("+k3s")
        major, minor, patch = kubernetes.split(".")
        return cls(int(major), int(minor), int(patch.partition("-")[0]), int(build or 0))

    def __str__(self) -> str:
        """As K3s writes it."""
        return f"v{self.major}.{self.minor}.{self.patch}+k3s{self.build}"


@dataclass(frozen=True)
class ClusterNode:
    """One node.

    Attributes:
        name: Its name.
        version: What it runs.
        server: Whether it is a server.
        healthy: Ready, and for a server a voter of etcd.
        gpus: GPUs that work on it holds.
        workloads: Pods that are somebody's work.
    """

    name: str
    version: Version
    server: bool
    healthy: bool
    gpus: int = 0
    workloads: int = 0


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        target: Release that the site's file names.
        servers: Servers that do not run it, in their order.
        agents: Agents that do not, the idle ones first.
        upgraded: Nodes that run it.
        blockers: Why it must not begin.
        notes: What is worth knowing.
    """

    target: Version
    servers: tuple[ClusterNode, ...]
    agents: tuple[ClusterNode, ...]
    upgraded: tuple[str, ...]
    blockers: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_nodes(nodes: list[Object], pods: list[Object]) -> list[ClusterNode]:
    """Reads nodes, and what runs on them."""
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        work = [pod for pod in pods if pod["spec"].get("nodeName") == name and is_user_workload(pod)]
        found.append(
            ClusterNode(
                name=name,
                version=Version.parse(node["status"]["nodeInfo"]["kubeletVersion"]),
                server=is_server(node),
                healthy=is_healthy_server(node) if is_server(node) else is_ready(node),
                gpus=sum(map(count_gpus, work)),
                workloads=len(work),
            )
        )
    return found


def make_plan(wanted: str, found: list[ClusterNode], *, removed: tuple[str, ...] = ()) -> Plan:
    """Plans the way from what runs to what is wanted.

    Args:
        wanted: Release that the site's file names.
        found: All nodes.
        removed: APIs that somebody still uses and the wanted release no longer has.
    """
    target = Version.parse(wanted)
    servers = [one for one in found if one.server]
    due = [one for one in found if one.version != target]
    return Plan(
        target=target,
        servers=tuple(one for one in due if one.server),
        agents=tuple(
            sorted((one for one in due if not one.server), key=lambda one: (one.gpus, one.workloads, one.name))
        ),
        upgraded=tuple(one.name for one in found if one.version == target),
        blockers=tuple(_find_blockers(target, found, servers, removed) if due else ()),
        notes=tuple(_notes(found)),
    )


def _find_blockers(
    target: Version, found: list[ClusterNode], servers: list[ClusterNode], removed: tuple[str, ...]
) -> Iterator[str]:
    newer = [one for one in found if one.version > target]
    if newer:
        yield (
            f"{', '.join(one.name for one in newer)} run {newer[0].version}, newer than the wanted {target}: K3s does not go "
            f"back. To return to an older state: ./lyceum restore --from a backup of that release"
        )
    oldest = min((one.version for one in servers), default=target)
    if target.major != oldest.major or target.minor - oldest.minor > 1:
        yield f"{oldest} -> {target} skips a minor: go through v{oldest.major}.{oldest.minor + 1} first"
    for one in found:
        if not one.server and target.minor - one.version.minor > KUBELET_SKEW:
            yield f"{one.name} runs {one.version}, more than {KUBELET_SKEW} minors behind {target}: bring the agents on first"
    sick = [one.name for one in servers if not one.healthy]
    if sick:
        yield (
            f"{len(servers) - len(sick)}/{len(servers)} etcd members are healthy ({', '.join(sick)} not): mend or replace "
            f"first, or the restart of another server ends the quorum"
        )
    if removed:
        yield f"{target} no longer has {', '.join(removed)}, and somebody still asks for it: change that first"


def _notes(found: list[ClusterNode]) -> Iterator[str]:
    if silent := [one.name for one in found if not one.healthy and not one.server]:
        yield f"{', '.join(silent)} not ready: left for a later run"


def find_removed_apis(metrics: str, wanted: Version) -> tuple[str, ...]:
    """APIs in use that a release no longer has, from the API server's own count of deprecated requests."""
    found = set()
    for line in metrics.splitlines():
        if not line.startswith("apiserver_requested_deprecated_apis{") or not line.rstrip().endswith(" 1"):
            continue
        labels = dict(
            part.split("=", 1) for part in line[line.index("{") + 1 : line.rindex("}")].split(",") if "=" in part
        )
        value = {key: text.strip('"') for key, text in labels.items()}
        major, _, minor = value.get("removed_release", "").partition(".")
        if minor and (int(major), int(minor)) <= (wanted.major, wanted.minor):
            found.add(f"{value['group']}/{value['version']} {value['resource']}".lstrip("/"))
    return tuple(sorted(found))


def make_batches(agents: tuple[ClusterNode, ...], at_once: int) -> list[list[ClusterNode]]:
    """Agents that are well, so many at once."""
    well = [one for one in agents if one.healthy]
    return [well[start : start + at_once] for start in range(0, len(well), at_once)]
