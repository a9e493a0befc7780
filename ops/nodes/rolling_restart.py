"""Restarts K3s on one server at a time, while etcd keeps its quorum, and on several agents at once."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from config.errors import LyceumError, OperationRefusedError
from config.hosts import Node, Role
from config.site import Site
from ops.clients.kubernetes import Kube
from ops.clients.ssh import Remote, RemoteError
from ops.console import step
from ops.nodes.blockers import server_health, unhealthy_others
from ops.nodes.facts import is_ready
from ops.wait import WaitTimeoutError, wait_until

AGENTS_AT_ONCE = 5
API_SECONDS = 60
"""How long the API address may take to move to another server before the API counts as lost."""
HEALTHY_SECONDS = 300
READ_KUBECONFIG = "cat /etc/rancher/k3s/k3s.yaml"
"""K3s writes this file at every start, with a valid certificate."""


@dataclass(frozen=True)
class Selection:
    """The servers to restart next.

    Attributes:
        names: Servers that can be restarted now, all at the same time.
        blocker: Why none can be; empty if `names` is valid.
    """

    names: tuple[str, ...] = ()
    blocker: str = ""


def select_servers(
    due: Iterable[str], health: Mapping[str, bool] | None, lost: frozenset[str] = frozenset()
) -> Selection:
    """Selects the server to restart next: an unhealthy one first, and none while another one is unhealthy.

    Args:
        due: Servers that have to be restarted, in order.
        health: Whether each server is healthy, by name; None if the API does not answer. Then all are restarted together:
            there is no quorum to lose, and etcd needs most of them up at the same time.
        lost: Servers that are given up and not waited for.
    """
    names = tuple(due)
    if health is None or not names:
        return Selection(names)
    first = min(names, key=lambda name: health.get(name, False))
    unhealthy = [name for name in unhealthy_others(health, first) if name not in lost]
    if unhealthy:
        return Selection(
            blocker=f"{first} is not restarted while {', '.join(unhealthy)} is not a Ready, voting member: etcd would lose its quorum"
        )
    return Selection((first,))


def read_server_health(kube: Kube) -> dict[str, bool]:
    """Whether each server is a Ready, voting member of etcd, by name."""
    return server_health(kube.items("/api/v1/nodes"))


@dataclass(frozen=True)
class RollingRestart:
    """A restart of K3s on many nodes.

    Attributes:
        site: The site.
        remotes: The machines by name.
        script: The script that restarts K3s on a node and returns when it is up.
    """

    site: Site
    remotes: Mapping[str, Remote]
    script: Callable[[Node], str]

    def connect(self, servers: Iterable[Node], seconds: float = API_SECONDS) -> Kube | None:
        """The cluster's API, with the kubeconfig as a server has it now; None if the API does not answer in time."""
        own = [self.remotes[node.name] for node in servers if node.name in self.remotes]
        try:
            return wait_until("the API", seconds, lambda: next(filter(None, map(self._connect, own)), None), every=2)
        except WaitTimeoutError:
            return None

    def _connect(self, server: Remote) -> Kube | None:
        try:
            text = server.run(READ_KUBECONFIG)
        except RemoteError:
            return None
        # The server's own address too: the API may work while only its virtual IP is missing.
        for address in (str(self.site.network.api_address), server.address):
            kube = Kube(text.replace("127.0.0.1", address))
            if kube.ready():
                return kube
        return None

    def restart_servers(
        self,
        servers: tuple[Node, ...],
        list_due: Callable[[], list[str]],
        *,
        lost: frozenset[str] = frozenset(),
        after: Callable[[Node], None] = lambda _: None,
    ) -> None:
        """Restarts K3s on the servers that are due, one at a time.

        Args:
            servers: All servers that can be reached.
            list_due: Returns the names of those that are due; called before each restart.
            lost: Servers that are given up and not waited for.
            after: Called after the restart of each server.

        Raises:
            OperationRefusedError: the next restart would cost etcd its quorum.
            LyceumError: a restart failed or had no effect, or the API does not come back.
        """
        known = {node.name: node for node in servers}
        restarted: set[str] = set()
        while names := list_due():
            if unchanged := restarted.intersection(names):
                raise LyceumError(
                    f"{', '.join(sorted(unchanged))} was restarted without effect: see `journalctl -u k3s` there"
                )
            kube = self.connect(servers)
            selection = select_servers(names, read_server_health(kube) if kube else None, lost)
            if selection.blocker:
                raise OperationRefusedError(f"{selection.blocker}. Repair or replace it, then run this command again")
            with step(f"restart K3s on {', '.join(selection.names)}"):
                self._run_script([known[name] for name in selection.names])
                self._wait_healthy(
                    servers,
                    selection.names,
                    lambda kube: [name for name, healthy in read_server_health(kube).items() if healthy],
                )
            for name in selection.names:
                after(known[name])
            restarted |= set(selection.names)
        if self.connect(servers) is None:
            raise LyceumError(
                f"the API of {self.site.title} does not answer; ./lyceum backup list shows what can be restored"
            )

    def restart_agents(self, servers: tuple[Node, ...], agents: list[Node]) -> None:
        """Restarts K3s on agents, several at once; their containers keep running."""
        for start in range(0, len(agents), AGENTS_AT_ONCE):
            batch = agents[start : start + AGENTS_AT_ONCE]
            names = tuple(node.name for node in batch)
            with step(f"restart K3s on {', '.join(names)}"):
                self._run_script(batch)
                self._wait_healthy(servers, names, list_ready_nodes)

    def _run_script(self, nodes: list[Node]) -> None:
        try:
            with ThreadPoolExecutor(len(nodes)) as workers:
                list(workers.map(lambda node: self.remotes[node.name].run(self.script(node), seconds=600), nodes))
        except RemoteError as error:
            raise LyceumError(f"{error}\nNothing else was changed; run this command again to continue") from error

    def _wait_healthy(
        self, servers: tuple[Node, ...], names: tuple[str, ...], list_healthy: Callable[[Kube], Iterable[str]]
    ) -> None:
        def all_healthy() -> bool:
            kube = self.connect(servers, 5)
            return kube is not None and set(names) <= set(list_healthy(kube))

        try:
            wait_until(f"{', '.join(names)} to be healthy", HEALTHY_SECONDS, all_healthy)
        except WaitTimeoutError as error:
            raise LyceumError(f"{error}; nothing else was changed. Run this command again to continue") from error


def list_ready_nodes(kube: Kube) -> list[str]:
    """Names of the Ready nodes."""
    return [node["metadata"]["name"] for node in kube.items("/api/v1/nodes") if is_ready(node)]


def servers_and_agents(nodes: Iterable[Node]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Splits nodes into servers and agents; servers restart first, because they issue the agents' certificates."""
    cluster_nodes = [node for node in nodes if node.in_cluster]
    return (
        tuple(node for node in cluster_nodes if node.role is Role.SERVER),
        tuple(node for node in cluster_nodes if node.role is not Role.SERVER),
    )
