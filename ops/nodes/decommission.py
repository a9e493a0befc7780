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
from ops.nodes import drain, osds, vm
from ops.nodes.blockers import Word
from ops.nodes.facts import is_server
from ops.nodes.vm import Machine
from ops.wait import retry, wait_until

REMOVE = "etcd.k3s.cattle.io/remove"
REMOVED = "etcd.k3s.cattle.io/removed-node-name"
MEMBER = "etcd.k3s.cattle.io/node-name"
"""K3s's annotations by which a server leaves etcd (k3s, pkg/etcd/member_controller.go)."""
VOTE_SECONDS = 120
FORGET_SECONDS = 120


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        title: What it does.
        done: Whether there is nothing left to do; asked first, so an interrupted goodbye goes on where it stopped.
        do: Does it.
    """

    title: str
    done: Callable[[], bool]
    do: Callable[[], None]


@dataclass(frozen=True)
class Goodbye:
    """A node that leaves.

    Attributes:
        machine: Its VM.
        kube: The cluster; None where there never was one.
        pve: Proxmox.
        words: What may be given up.
        drain_seconds: How long the drain may take.
    """

    machine: Machine
    kube: Kube | None
    pve: Pve
    words: frozenset[Word] = frozenset()
    drain_seconds: float = drain.MINUTES * 60

    def steps(self) -> list[Step]:
        """All steps in their order."""
        off = Step(
            "switch it off",
            lambda: vm.is_off(self.pve, self.machine),
            lambda: vm.switch_off(self.pve, self.machine),
        )
        if self.kube is None:
            return [off]
        kube, name = self.kube, self.machine.name
        return [
            Step(
                "keep new work away",
                lambda: self._gone() or drain.cordoned(self._node()),
                lambda: retry("the API", VOTE_SECONDS, lambda: drain.cordon(kube, name)),
            ),
            Step("move its work elsewhere", lambda: not drain.remaining(kube, name), self._drain),
            Step("hand its Ceph data over", self._handed_over, self._hand_over),
            off,
            Step("give up its vote in etcd", self._has_no_vote, self._give_up_vote),
            Step("forget the node", self._forgotten, lambda: forget(kube, name)),
            Step(
                "forget its OSDs",
                lambda: not osds.osds_on(kube, name) and not osds.jobs_of(kube, name),
                lambda: osds.forget(kube, name),
            ),
        ]

    def say(self) -> None:
        """Goes through the steps."""
        for one in self.steps():
            if retry("the API", VOTE_SECONDS, one.done):
                console.print(f"[dim]✓ {self.machine.name}: {one.title}: nothing to do[/]")
                continue
            with step(f"{self.machine.name}: {one.title}"):
                one.do()

    def _find(self) -> Object | None:
        return self._kube.find(f"/api/v1/nodes/{self.machine.name}")

    @property
    def _kube(self) -> Kube:
        assert self.kube is not None  # noqa: S101 - steps that use it exist only with a cluster
        return self.kube

    def _gone(self) -> bool:
        return self._find() is None

    def _node(self) -> Object:
        return self._kube.get(f"/api/v1/nodes/{self.machine.name}")

    def _drain(self) -> None:
        ignore = Word.BUDGETS in self.words
        drain.drain(self._kube, self.machine.name, self.drain_seconds, ignore_budgets=ignore)

    def _handed_over(self) -> bool:
        own = osds.osds_on(self._kube, self.machine.name)
        # A node that is gone, or whose data was given up by word, has nothing to hand over.
        return Word.DATA in self.words or self._gone() or all(osds.purged(self._kube, osd) for osd in own)

    def _hand_over(self) -> None:
        for osd in osds.osds_on(self._kube, self.machine.name):
            osds.purge(self._kube, osd)

    def _has_no_vote(self) -> bool:
        node = self._find()
        return node is None or not is_server(node) or has_left_etcd(node)

    def _give_up_vote(self) -> None:
        mark = {"metadata": {"annotations": {REMOVE: "true"}}}
        path = f"/api/v1/nodes/{self.machine.name}"
        retry("the API to take the mark", VOTE_SECONDS, lambda: self._kube.patch(path, mark))
        wait_until(f"etcd to let {self.machine.name} go", VOTE_SECONDS, self._has_no_vote)

    def _forgotten(self) -> bool:
        return self._gone() and self._kube.find(_password(self.machine.name)) is None


def forget(kube: Kube, name: str) -> None:
    """Deletes the Node of a machine that is off or gone, and what K3s knows it by."""
    path = f"/api/v1/nodes/{name}"
    retry("the API to delete the node", FORGET_SECONDS, lambda: kube.delete(path))
    wait_until(f"the Node {name} to be gone", FORGET_SECONDS, lambda: kube.find(path) is None)
    # K3s deletes the password with the Node; one that is left would refuse the next machine of this name (k3s#802).
    retry("the API to delete the password", FORGET_SECONDS, lambda: kube.delete(_password(name)))


def _password(name: str) -> str:
    return f"/api/v1/namespaces/kube-system/secrets/{name}.node-password.k3s"


def has_left_etcd(node: Object) -> bool:
    """Whether K3s reports that the member is removed; a server that never was one has nothing to leave."""
    annotations = node["metadata"].get("annotations") or {}
    member = annotations.get(MEMBER)
    return member is None or annotations.get(REMOVED) == member
