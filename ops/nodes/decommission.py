"""Takes a node out of the cluster, in an order that loses nothing; each step first checks whether it is already done.

The node is drained before its VM is shut down. The VM is shut down before the member leaves etcd, because K3s on a removed
server would restart and join again, or start a second cluster. The member leaves etcd before the Node is deleted, because K3s
records the removal in the Node's annotations. The engine deletes the VM last, because it owns it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from components.proxmox.client import Pve
from ops.clients.kubernetes import Kube, Object
from ops.console import console, step
from ops.engine.pulumi_state import Vm
from ops.nodes import drain, osds
from ops.nodes.blockers import Override
from ops.nodes.facts import is_server
from ops.nodes.vm import is_stopped, shut_down
from ops.wait import retry, wait_until

REMOVE_ANNOTATION = "etcd.k3s.cattle.io/remove"
REMOVED_ANNOTATION = "etcd.k3s.cattle.io/removed-node-name"
MEMBER_ANNOTATION = "etcd.k3s.cattle.io/node-name"
"""K3s's annotations for removing a server from etcd (k3s, pkg/etcd/member_controller.go)."""
API_SECONDS = 120
DELETE_SECONDS = 120


@dataclass(frozen=True)
class DecommissionStep:
    """One step of a decommission.

    Attributes:
        title: What it does.
        is_done: Whether nothing is left to do; checked first, so that an interrupted decommission continues where it stopped.
        run: Does it.
    """

    title: str
    is_done: Callable[[], bool]
    run: Callable[[], None]


@dataclass(frozen=True)
class Decommission:
    """The decommission of one node, or of a machine outside the cluster.

    Attributes:
        vm: Its VM.
        kube: The cluster; None for a machine outside it.
        pve: Proxmox.
        overrides: What may be lost.
        drain_seconds: How long the drain may take.
    """

    vm: Vm
    kube: Kube | None
    pve: Pve
    overrides: frozenset[Override] = frozenset()
    drain_seconds: float = drain.DEFAULT_MINUTES * 60

    def steps(self) -> list[DecommissionStep]:
        """All steps in order."""
        stop = DecommissionStep(
            "shut down the VM", lambda: is_stopped(self.pve, self.vm), lambda: shut_down(self.pve, self.vm)
        )
        if self.kube is None:
            return [stop]
        kube, name = self.kube, self.vm.name
        return [
            DecommissionStep(
                "cordon", self._is_cordoned, lambda: retry("the API", API_SECONDS, lambda: drain.cordon(kube, name))
            ),
            DecommissionStep("drain", lambda: not drain.list_remaining_pods(kube, name), self._drain),
            DecommissionStep("purge its OSDs", self._osds_are_purged, self._purge_osds),
            stop,
            DecommissionStep("remove it from etcd", self._has_left_etcd, self._leave_etcd),
            DecommissionStep("delete the Node", self._is_node_deleted, lambda: delete_node(kube, name)),
            DecommissionStep(
                "delete its OSD deployments",
                lambda: not osds.list_osds(kube, name) and not osds.list_purge_jobs(kube, name),
                lambda: osds.delete_osds(kube, name),
            ),
        ]

    def run(self) -> None:
        """Runs the steps that are not done yet."""
        for one in self.steps():
            if retry("the API", API_SECONDS, one.is_done):
                console.print(f"[dim]✓ {self.vm.name}: {one.title}: nothing to do[/]")
                continue
            with step(f"{self.vm.name}: {one.title}"):
                one.run()

    @property
    def _kube(self) -> Kube:
        assert self.kube is not None  # noqa: S101 - steps that use it exist only with a cluster
        return self.kube

    @property
    def _path(self) -> str:
        return f"/api/v1/nodes/{self.vm.name}"

    def _find_node(self) -> Object | None:
        return self._kube.find(self._path)

    def _is_cordoned(self) -> bool:
        node = self._find_node()
        return node is None or drain.is_cordoned(node)

    def _drain(self) -> None:
        ignore = Override.BUDGETS in self.overrides
        drain.drain_node(self._kube, self.vm.name, self.drain_seconds, ignore_budgets=ignore)

    def _osds_are_purged(self) -> bool:
        own = osds.list_osds(self._kube, self.vm.name)
        # Without a Node, or with --force data, there is nothing to move elsewhere.
        return (
            Override.DATA in self.overrides
            or self._find_node() is None
            or all(osds.is_purged(self._kube, osd) for osd in own)
        )

    def _purge_osds(self) -> None:
        for osd in osds.list_osds(self._kube, self.vm.name):
            osds.purge_osd(self._kube, osd)

    def _has_left_etcd(self) -> bool:
        node = self._find_node()
        return node is None or not is_server(node) or has_left_etcd(node)

    def _leave_etcd(self) -> None:
        change = {"metadata": {"annotations": {REMOVE_ANNOTATION: "true"}}}
        retry("the API to take the annotation", API_SECONDS, lambda: self._kube.patch(self._path, change))
        wait_until(f"etcd to remove {self.vm.name}", API_SECONDS, self._has_left_etcd)

    def _is_node_deleted(self) -> bool:
        return self._find_node() is None and self._kube.find(_password_path(self.vm.name)) is None


def delete_node(kube: Kube, name: str) -> None:
    """Deletes the Node of a machine that is stopped or gone, and the password by which K3s recognizes it."""
    path = f"/api/v1/nodes/{name}"
    retry("the API to delete the node", DELETE_SECONDS, lambda: kube.delete(path))
    wait_until(f"the Node {name} to be deleted", DELETE_SECONDS, lambda: kube.find(path) is None)
    # K3s deletes the password with the Node; one that remains would reject the next machine of this name (k3s#802).
    retry("the API to delete the password", DELETE_SECONDS, lambda: kube.delete(_password_path(name)))


def _password_path(name: str) -> str:
    return f"/api/v1/namespaces/kube-system/secrets/{name}.node-password.k3s"


def has_left_etcd(node: Object) -> bool:
    """Whether K3s reports the member as removed; a server that never was a member has nothing to leave."""
    annotations = node["metadata"].get("annotations") or {}
    member = annotations.get(MEMBER_ANNOTATION)
    return member is None or annotations.get(REMOVED_ANNOTATION) == member
