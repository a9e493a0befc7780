"""K3s started anew on one server at a time, as long as etcd keeps its majority, and on a few agents at once."""

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
"""How long the API may be between two servers before it counts as gone."""
SETTLE_SECONDS = 300
KUBECONFIG = "cat /etc/rancher/k3s/k3s.yaml"
"""K3s writes it anew at every start, with a certificate that is valid."""


@dataclass(frozen=True)
class Selection:
    """Whose turn it is.

    Attributes:
        names: Servers that may be started anew now, together.
        blocker: Why none may be.
    """

    names: tuple[str, ...] = ()
    blocker: str = ""


def select_servers(
    due: Iterable[str], health: Mapping[str, bool] | None, lost: frozenset[str] = frozenset()
) -> Selection:
    """The server that is started anew next: one that is not well comes first, and no other may be unwell meanwhile.

    Args:
        due: Servers that have to be started anew, in their order.
        health: Whether each server is Ready and a voter; None where the API does not answer: then there is nothing to
            lose, and etcd needs most of them to come up together.
        lost: Servers that nobody waits for.
    """
    names = tuple(due)
    if health is None or not names:
        return Selection(names)
    first = min(names, key=lambda name: health.get(name, False))
    sick = [name for name in unhealthy_others(health, first) if name not in lost]
    if sick:
        return Selection(
            blocker=f"{first} is not restarted while {', '.join(sick)} is not Ready and a voter: etcd would lose its majority"
        )
    return Selection((first,))


def read_server_health(kube: Kube) -> dict[str, bool]:
    """Whether each server is Ready and votes."""
    return server_health(kube.items("/api/v1/nodes"))


@dataclass(frozen=True)
class RollingRestart:
    """Machines that K3s is started anew on.

    Attributes:
        site: Their campus.
        remotes: How each is reached, by name.
        script: What starts K3s on a machine; ends when it is up.
    """

    site: Site
    remotes: Mapping[str, Remote]
    script: Callable[[Node], str]

    def connect(self, servers: Iterable[Node], seconds: float = API_SECONDS) -> Kube | None:
        """The cluster's API with the certificate that a server has today; None where it does not answer in time."""
        own = [self.remotes[node.name] for node in servers if node.name in self.remotes]
        try:
            return wait_until("the API", seconds, lambda: next(filter(None, map(self._connect, own)), None), every=2)
        except WaitTimeoutError:
            return None

    def _connect(self, server: Remote) -> Kube | None:
        try:
            text = server.run(KUBECONFIG)
        except RemoteError:
            return None
        # By its own address too: an API that only its shared address lacks is not gone.
        for address in (str(self.site.network.api_address), server.address):
            kube = Kube(text.replace("127.0.0.1", address))
            if kube.ready():
                return kube
        return None

    def restart_servers(
        self,
        servers: tuple[Node, ...],
        due: Callable[[], list[str]],
        *,
        lost: frozenset[str] = frozenset(),
        after: Callable[[Node], None] = lambda _: None,
    ) -> None:
        """Starts K3s anew on the servers that are due; ends the command where the next one may not be.

        Args:
            servers: All servers that can be reached.
            due: Asks the machines which ones are; asked before each.
            lost: Servers that nobody waits for.
            after: Done after each start.
        """
        known = {node.name: node for node in servers}
        done: set[str] = set()
        while names := due():
            if again := done.intersection(names):
                raise LyceumError(
                    f"{', '.join(sorted(again))} was started anew and is as before: `journalctl -u k3s` there says why"
                )
            kube = self.connect(servers)
            now = select_servers(names, read_server_health(kube) if kube else None, lost)
            if now.blocker:
                raise OperationRefusedError(f"{now.blocker}. Mend or replace it, then run this again")
            with step(f"restart K3s on {', '.join(now.names)}"):
                self._run_script([known[name] for name in now.names])
                self._wait_healthy(
                    servers, now.names, lambda kube: [name for name, well in read_server_health(kube).items() if well]
                )
            for name in now.names:
                after(known[name])
            done |= set(now.names)
        if self.connect(servers) is None:
            raise LyceumError(
                f"the API of {self.site.title} does not answer; ./lyceum backup list shows what can be restored"
            )

    def restart_agents(self, servers: tuple[Node, ...], agents: list[Node]) -> None:
        """Starts K3s anew on agents, a few at once; containers go on meanwhile."""
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
            raise LyceumError(f"{error}\nNothing else was touched; run this again to go on") from error

    def _wait_healthy(
        self, servers: tuple[Node, ...], names: tuple[str, ...], well: Callable[[Kube], Iterable[str]]
    ) -> None:
        def settled() -> bool:
            kube = self.connect(servers, 5)
            return kube is not None and set(names) <= set(well(kube))

        try:
            wait_until(f"{', '.join(names)} to be well", SETTLE_SECONDS, settled)
        except WaitTimeoutError as error:
            raise LyceumError(f"{error}; nothing else was touched. Run this again to go on") from error


def list_ready_nodes(kube: Kube) -> list[str]:
    """Nodes that report."""
    return [node["metadata"]["name"] for node in kube.items("/api/v1/nodes") if is_ready(node)]


def servers_and_agents(nodes: Iterable[Node]) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """Servers and agents: agents get their certificates from servers, so servers come first."""
    members = [node for node in nodes if node.in_cluster]
    return (
        tuple(node for node in members if node.role is Role.SERVER),
        tuple(node for node in members if node.role is not Role.SERVER),
    )
