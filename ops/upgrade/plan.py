"""Plans an upgrade of K3s: which nodes in which order, and what blocks it. Pure.

The progress of an upgrade is what the nodes run; nothing else is stored.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ops.clients.kubernetes import Object
from ops.nodes.blockers import count_gpus, is_healthy_server, user_workloads
from ops.nodes.facts import is_ready, is_server

KUBELET_SKEW = 3
"""A kubelet may be this many minors older than the API server, and never newer (Kubernetes version skew policy)."""


@dataclass(frozen=True, order=True)
class Version:
    """A K3s release such as `v1.36.4+k3s1`; releases compare by age."""

    major: int
    minor: int
    patch: int
    build: int

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Parses a release; a version without K3s's suffix counts as build 0."""
        kubernetes, _, build = text.removeprefix("v").partition("+k3s")
        major, minor, patch = kubernetes.split(".")
        return cls(int(major), int(minor), int(patch.partition("-")[0]), int(build or 0))

    def __str__(self) -> str:
        """The release as K3s writes it."""
        return f"v{self.major}.{self.minor}.{self.patch}+k3s{self.build}"


@dataclass(frozen=True)
class ClusterNode:
    """A node of the cluster, as an upgrade sees it.

    Attributes:
        name: Its name.
        version: The release that its kubelet runs.
        server: Whether it is a server.
        healthy: Whether it is Ready, and a server also a voting member of etcd.
        gpus: GPUs that users' pods on it hold.
        workloads: Number of users' pods on it.
    """

    name: str
    version: Version
    server: bool
    healthy: bool
    gpus: int = 0
    workloads: int = 0


@dataclass(frozen=True)
class UpgradePlan:
    """The plan of an upgrade.

    Attributes:
        target: The release in the site's file.
        servers: Servers that do not run it yet, in order.
        agents: Agents that do not run it yet, idle ones first.
        upgraded: Names of the nodes that run it.
        blockers: Why the upgrade must not start.
        warnings: What does not block it but should be known.
    """

    target: Version
    servers: tuple[ClusterNode, ...]
    agents: tuple[ClusterNode, ...]
    upgraded: tuple[str, ...]
    blockers: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_nodes(nodes: list[Object], pods: list[Object]) -> list[ClusterNode]:
    """Reads Node objects and the users' pods on them."""
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        workloads = user_workloads(pods, name)
        found.append(
            ClusterNode(
                name=name,
                version=Version.parse(node["status"]["nodeInfo"]["kubeletVersion"]),
                server=is_server(node),
                healthy=is_healthy_server(node) if is_server(node) else is_ready(node),
                gpus=sum(map(count_gpus, workloads)),
                workloads=len(workloads),
            )
        )
    return found


def make_plan(release: str, nodes: list[ClusterNode], *, removed_apis: tuple[str, ...] = ()) -> UpgradePlan:
    """Plans the upgrade of the nodes to a release.

    Args:
        release: The release, as the site's file names it.
        nodes: All nodes.
        removed_apis: APIs that clients still use and that the release no longer has.
    """
    target = Version.parse(release)
    due = [node for node in nodes if node.version != target]
    agents = (node for node in due if not node.server)
    return UpgradePlan(
        target=target,
        servers=tuple(node for node in due if node.server),
        agents=tuple(sorted(agents, key=lambda node: (node.gpus, node.workloads, node.name))),
        upgraded=tuple(node.name for node in nodes if node.version == target),
        blockers=tuple(_find_blockers(target, nodes, removed_apis) if due else ()),
        warnings=tuple(_find_warnings(nodes)),
    )


def _find_blockers(target: Version, nodes: list[ClusterNode], removed_apis: tuple[str, ...]) -> Iterator[str]:
    servers = [node for node in nodes if node.server]
    if newer := [node for node in nodes if node.version > target]:
        yield (
            f"{', '.join(node.name for node in newer)} run {newer[0].version}, which is newer than {target}: K3s cannot be "
            f"downgraded. To return to an older state: ./lyceum restore --from a backup of that release"
        )
    oldest = min((node.version for node in servers), default=target)
    if target.major != oldest.major or target.minor - oldest.minor > 1:
        yield f"{oldest} -> {target} skips a minor release: upgrade to v{oldest.major}.{oldest.minor + 1} first"
    for node in nodes:
        if not node.server and target.minor - node.version.minor > KUBELET_SKEW:
            yield (
                f"{node.name} runs {node.version}, more than {KUBELET_SKEW} minor releases behind {target}: upgrade the "
                f"agents first"
            )
    yield from find_unhealthy_servers(nodes, "restart")
    if removed_apis:
        yield f"{target} no longer has {', '.join(removed_apis)}, which clients still use: change those clients first"


def find_unhealthy_servers(
    nodes: list[ClusterNode], action: str, ignored: Collection[str] = frozenset()
) -> Iterator[str]:
    """Reports unhealthy servers: with one more of them down, etcd would lose its quorum.

    Args:
        nodes: All nodes.
        action: What takes the next server down: `restart`, `reboot`.
        ignored: Servers that are down because an upgrade of theirs was interrupted.
    """
    servers = [node for node in nodes if node.server]
    if unhealthy := [node.name for node in servers if not node.healthy and node.name not in ignored]:
        yield (
            f"{len(servers) - len(unhealthy)}/{len(servers)} etcd members are healthy ({', '.join(unhealthy)} not): repair "
            f"or replace first, or the {action} of another server costs etcd its quorum"
        )


def _find_warnings(nodes: list[ClusterNode]) -> Iterator[str]:
    if unready := [node.name for node in nodes if not node.healthy and not node.server]:
        yield f"{', '.join(unready)} not ready: skipped, a later run upgrades them"


def find_removed_apis(metrics: str, target: Version) -> tuple[str, ...]:
    """APIs in use that a release no longer has, from the API server's metric of deprecated requests."""
    found = set()
    for line in metrics.splitlines():
        if not line.startswith("apiserver_requested_deprecated_apis{") or not line.rstrip().endswith(" 1"):
            continue
        pairs = line[line.index("{") + 1 : line.rindex("}")].split(",")
        labels = {key: value.strip('"') for key, _, value in (pair.partition("=") for pair in pairs)}
        major, _, minor = labels.get("removed_release", "").partition(".")
        if minor and (int(major), int(minor)) <= (target.major, target.minor):
            found.add(f"{labels['group']}/{labels['version']} {labels['resource']}".lstrip("/"))
    return tuple(sorted(found))


def make_batches(agents: tuple[ClusterNode, ...], size: int) -> list[list[ClusterNode]]:
    """Splits the healthy agents into batches of a size."""
    healthy = [node for node in agents if node.healthy]
    return [healthy[start : start + size] for start in range(0, len(healthy), size)]
