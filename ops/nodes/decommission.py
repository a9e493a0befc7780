"""How a node leaves: in an order in which nothing is lost, each step looking first whether it is done already.

Drained before it is switched off; switched off before its vote goes, because K3s on a removed server would start anew and
join again, or found a second cluster; the vote gone before the Node object, which K3s takes for the member's tombstone;
the VM itself is deleted last, by the engine, which owns it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from components.proxmox.client import Pve
from ops.clients.kubernetes import Kube, Object
from ops.console import console, step
from ops.engine.pulumi_state import Vm
from ops.nodes import drain, osds, vm
from ops.nodes.blockers import Override
from ops.nodes.facts import is_server
from ops.wait import retry, wait_until

REMOVE_ANNOTATION = "etcd.k3s.cattle.io/remove"
REMOVED_ANNOTATION = "etcd.k3s.cattle.io/removed-node-name"
MEMBER_ANNOTATION = "etcd.k3s.cattle.io/node-name"
"""K3s's annotations by which a server leaves etcd (k3s, pkg/etcd/member_controller.go)."""
API_SECONDS = 120
DELETE_SECONDS = 120


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        title: What it does.
        is_done: Whether there is nothing left to do; asked first, so an interrupted goodbye goes on where it stopped.
        run: Does it.
    """

    title: str
    is_done: Callable[[], bool]
    run: Callable[[], None]


@dataclass(frozen=True)
class Decommission:
    """A node that leaves.

    Attributes:
        vm: Its VM.
        kube: The cluster; None where there never was one.
        pve: Proxmox.
        overrides: What may be given up.
        drain_seconds: How long the drain may take.
    """

    vm: Vm
    kube: Kube | None
    pve: Pve
    overrides: frozenset[Override] = frozenset()
    drain_seconds: float = drain.DEFAULT_MINUTES * 60

    def steps(self) -> list[Step]:
        """All steps in their order."""
        off = Step(
            "switch it off",
            lambda: vm.is_stopped(self.pve, self.vm),
            lambda: vm.shut_down(self.pve, self.vm),
        )
        if self.kube is None:
            return [off]
        kube, name = self.kube, self.vm.name
        return [
            Step(
                "keep new work away",
                lambda: self._is_node_gone() or drain.is_cordoned(self._get_node()),
                lambda: retry("the API", API_SECONDS, lambda: drain.cordon(kube, name)),
            ),
            Step("move its work elsewhere", lambda: not drain.list_remaining_pods(kube, name), self._drain),
            Step("hand its Ceph data over", self._osds_are_purged, self._purge_osds),
            off,
            Step("give up its vote in etcd", self._has_left_etcd, self._leave_etcd),
            Step("forget the node", self._is_node_deleted, lambda: delete_node(kube, name)),
            Step(
                "forget its OSDs",
                lambda: not osds.list_osds(kube, name) and not osds.list_purge_jobs(kube, name),
                lambda: osds.delete_osds(kube, name),
            ),
        ]

    def run(self) -> None:
        """Goes through the steps."""
        for one in self.steps():
            if retry("the API", API_SECONDS, one.is_done):
                console.print(f"[dim]✓ {self.vm.name}: {one.title}: nothing to do[/]")
                continue
            with step(f"{self.vm.name}: {one.title}"):
                one.run()

    def _find_node(self) -> Object | None:
        return self._kube.find(f"/api/v1/nodes/{self.vm.name}")

    @property
    def _kube(self) -> Kube:
        assert self.kube is not None  # noqa: S101 - steps that use it exist only with a cluster
        return self.kube

    def _is_node_gone(self) -> bool:
        return self._find_node() is None

    def _get_node(self) -> Object:
        return self._kube.get(f"/api/v1/nodes/{self.vm.name}")

    def _drain(self) -> None:
        ignore = Override.BUDGETS in self.overrides
        drain.drain_node(self._kube, self.vm.name, self.drain_seconds, ignore_budgets=ignore)

    def _osds_are_purged(self) -> bool:
        own = osds.list_osds(self._kube, self.vm.name)
        # A node that is gone, or whose data was given up by word, has nothing to hand over.
        return (
            Override.DATA in self.overrides
            or self._is_node_gone()
            or all(osds.is_purged(self._kube, osd) for osd in own)
        )

    def _purge_osds(self) -> None:
        for osd in osds.list_osds(self._kube, self.vm.name):
            osds.purge_osd(self._kube, osd)

    def _has_left_etcd(self) -> bool:
        node = self._find_node()
        return node is None or not is_server(node) or has_left_etcd(node)

    def _leave_etcd(self) -> None:
        mark = {"metadata": {"annotations": {REMOVE_ANNOTATION: "true"}}}
        path = f"/api/v1/nodes/{self.vm.name}"
        retry("the API to take the mark", API_SECONDS, lambda: self._kube.patch(path, mark))
        wait_until(f"etcd to let {self.vm.name} go", API_SECONDS, self._has_left_etcd)

    def _is_node_deleted(self) -> bool:
        return self._is_node_gone() and self._kube.find(_password_path(self.vm.name)) is None


def delete_node(kube: Kube, name: str) -> None:
    """Deletes the Node of a machine that is off or gone, and what K3s knows it by."""
    path = f"/api/v1/nodes/{name}"
    retry("the API to delete the node", DELETE_SECONDS, lambda: kube.delete(path))
    wait_until(f"the Node {name} to be gone", DELETE_SECONDS, lambda: kube.find(path) is None)
    # K3s deletes the password with the Node; one that is left would refuse the next machine of this name (k3s#802).
    retry("the API to delete the password", DELETE_SECONDS, lambda: kube.delete(_password_path(name)))


def _password_path(name: str) -> str:
    return f"/api/v1/namespaces/kube-system/secrets/{name}.node-password.k3s"


def has_left_etcd(node: Object) -> bool:
    """Whether K3s reports that the member is removed; a server that never was one has nothing to leave."""
    annotations = node["metadata"].get("annotations") or {}
    member = annotations.get(MEMBER_ANNOTATION)
    return member is None or annotations.get(REMOVED_ANNOTATION) == member
