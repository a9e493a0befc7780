"""One node's turn in an upgrade of packages, and the round of turns.

Every step looks first, so that a turn that was interrupted goes on where it stopped: a mark on the Node says that we took
it out of service, and the rest is asked anew.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from components.cluster.bootstrap import unit_name
from config.errors import LyceumError
from config.hosts import Role
from ops.clients.kubernetes import Kube, Object
from ops.clients.ssh import RemoteError
from ops.console import aside, step
from ops.nodes import drain
from ops.nodes.blockers import Override, is_healthy_server, server_health, unhealthy_others, workload_blockers
from ops.nodes.drain import OS_UPGRADE_ANNOTATION, DrainTimeoutError
from ops.nodes.facts import NodeFacts, gather_facts, is_deployment_ready, is_ready, is_server
from ops.upgrade.os_packages import LOCK_SECONDS, package_script
from ops.upgrade.plan import ClusterNode
from ops.wait import NotReadyError, WaitTimeoutError, retry, wait_until

UNCORDON, KEEP_CORDON = "release", "keep"
"""Values of the mark: what becomes of the node's cordon after its turn."""
UNCHECKED = "asked-"
"""Stands in front of them until it is known that nothing speaks against the turn: a run that was killed before asks again."""
SETTLE_SECONDS = 900
"""A server of a campus needs minutes for its firmware and its memory test alone."""
INSTALL_SECONDS = 3600
CEPH_SECONDS = 1800
VOTE_SECONDS = 300


class NodeSkippedError(LyceumError):
    """The node is as it was, and takes work; the others may go on. The text says why."""


class NodeStuckError(LyceumError):
    """The node is in the middle of its turn, and takes no work; nothing else may begin. The text says what to do."""


class ScriptRunner(Protocol):
    """A machine that scripts can be run on (`ops.clients.ssh.Remote`)."""

    def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
        """Runs a script as root."""


def upgrade_mark(node: Object) -> str:
    """What the mark says; empty without one."""
    return str((node["metadata"].get("annotations") or {}).get(OS_UPGRADE_ANNOTATION, ""))


def order_nodes(
    found: list[ClusterNode], due: set[str], marked: set[str]
) -> tuple[list[ClusterNode], list[ClusterNode]]:
    """Servers and agents whose turn it is: what was begun first, then servers as they come, and agents by idleness."""
    wanted = [one for one in found if one.name in due | marked]
    servers = sorted((one for one in wanted if one.server), key=lambda one: one.name not in marked)
    agents = [one for one in wanted if not one.server and (one.healthy or one.name in marked)]
    return servers, sorted(agents, key=lambda one: (one.name not in marked, one.gpus, one.workloads, one.name))


def find_blockers(found: list[ClusterNode], marked: set[str]) -> Iterator[str]:
    """Why no turn may begin."""
    servers = [one for one in found if one.server]
    if sick := [one.name for one in servers if not one.healthy and one.name not in marked]:
        yield (
            f"{len(servers) - len(sick)}/{len(servers)} etcd members are healthy ({', '.join(sick)} not): mend or replace "
            f"first, or the reboot of another server ends the quorum"
        )


def unready_reason(node: Object, expected: dict[str, int]) -> str:
    """Why a node may not take work yet; empty where it is Ready, votes, and offers its GPUs."""
    if not is_ready(node):
        return "it is not Ready"
    if is_server(node) and not is_healthy_server(node):
        return "it is no voter of etcd"
    offered = node["status"].get("allocatable") or {}
    lacking = [name for name, count in expected.items() if int(offered.get(name, 0)) < count]
    return f"its GPUs are not back ({', '.join(lacking)}): the operator's driver loads" if lacking else ""


def osds_ok_to_stop(picture: NodeFacts) -> bool:
    """Whether a node's OSDs may go down for a while: none of them, or all of Ceph is well."""
    if not picture.own_osds or picture.ceph is None:
        return True
    # Rook looks at Ceph once a minute: after another node's reboot its word may be one from before.
    well = picture.ceph.get("status", {}).get("ceph", {}).get("health") == "HEALTH_OK"
    return bool(well) and all(map(is_deployment_ready, picture.osds))


@dataclass(frozen=True)
class NodeUpgrade:
    """One node's turn.

    Attributes:
        name: The node.
        server: Whether it is a server.
        kube: The cluster.
        remote: The machine.
        expected_gpus: GPUs that it offers when it is well.
        overrides: What may be given up.
        drain_seconds: How long its drain may take.
        settle_seconds: How long it may take until it is well again.
    """

    name: str
    server: bool
    kube: Kube
    remote: ScriptRunner
    expected_gpus: dict[str, int] = field(default_factory=dict)
    overrides: frozenset[Override] = frozenset()
    drain_seconds: float = drain.DEFAULT_MINUTES * 60
    settle_seconds: float = SETTLE_SECONDS

    def run(self) -> None:
        """Goes through the steps.

        Raises:
            LeftError: nothing was changed, and the node works.
            StuckError: it could not be brought to its end.
        """
        mark = upgrade_mark(self._get_node())
        if not mark:
            self._fetch_packages()
        if not mark or mark.startswith(UNCHECKED):
            self._take_out_of_service(mark.removeprefix(UNCHECKED))
        self._drain()
        try:
            self._install_packages()
            self._reboot()
            self._wait_until_ready()
        except (RemoteError, WaitTimeoutError) as error:
            raise NodeStuckError(
                f"{error}\n{self.name} takes no work: it stays cordoned in the middle of its upgrade. Mend what is said and "
                f"run the same command again; it goes on there"
            ) from None
        self._return_to_service()

    def has_osds(self) -> bool:
        """Whether disks of Ceph are on it."""
        return bool(self._gather_facts().own_osds)

    def _get_node(self) -> Object:
        return retry("the API", self.settle_seconds, lambda: self.kube.get(self._path))

    @property
    def _path(self) -> str:
        return f"/api/v1/nodes/{self.name}"

    def _patch(self, change: Object) -> None:
        retry("the API to take a change", self.settle_seconds, lambda: self.kube.patch(self._path, change))

    def _fetch_packages(self) -> None:
        """What takes long and can go wrong for reasons of the network happens while the node still works."""
        with step(f"{self.name}: fetch packages"):
            try:
                self.remote.run(package_script(f"fetch_packages {LOCK_SECONDS}"), seconds=INSTALL_SECONDS, say=aside)
            except RemoteError as error:
                raise NodeSkippedError(f"{error}; nothing was changed on it, and it works on") from None

    def _take_out_of_service(self, after: str) -> None:
        """Marks and cordons it in one change, then looks at what would be lost: nothing new can come in between.

        Args:
            after: What an earlier run noted of its cordon; empty without one.
        """
        after = after or (KEEP_CORDON if drain.is_cordoned(self._get_node()) else UNCORDON)
        self._patch(
            {"metadata": {"annotations": {OS_UPGRADE_ANNOTATION: UNCHECKED + after}}, "spec": {"unschedulable": True}}
        )
        if why := self._find_blocker():
            self._return_to_service()
            raise NodeSkippedError(f"{self.name} works on, with its old packages: {why}")
        self._patch({"metadata": {"annotations": {OS_UPGRADE_ANNOTATION: after}}})

    def _find_blocker(self) -> str:
        try:
            self._wait_for_other_servers()
        except WaitTimeoutError as error:
            return str(error)
        if Override.JOBS not in self.overrides and (held := list(workload_blockers(self._gather_facts()))):
            return f"{held[0].text}. To end it now: --force jobs"
        if Override.DATA not in self.overrides:
            try:
                wait_until(f"Ceph to be well before {self.name} goes down", CEPH_SECONDS, self._osds_ok_to_stop)
            except WaitTimeoutError:
                return "it holds OSDs, and Ceph has not been HEALTH_OK for half an hour: ./lyceum status says why"
        return ""

    def _gather_facts(self) -> NodeFacts:
        return retry("the API", self.settle_seconds, lambda: gather_facts(self.kube, self.name))

    def _osds_ok_to_stop(self) -> bool:
        return osds_ok_to_stop(gather_facts(self.kube, self.name))

    def _wait_for_other_servers(self) -> None:
        def all_vote() -> bool:
            if sick := unhealthy_others(server_health(self.kube.items("/api/v1/nodes")), self.name):
                raise NotReadyError(f"{', '.join(sick)} is not well")
            return True

        if self.server:
            wait_until(f"the other servers to vote before {self.name} goes down", VOTE_SECONDS, all_vote)

    def _drain(self) -> None:
        self._patch({"spec": {"unschedulable": True}})
        try:
            with step(f"{self.name}: move its work elsewhere"):
                drain.drain_node(
                    self.kube, self.name, self.drain_seconds, ignore_budgets=Override.BUDGETS in self.overrides
                )
        except DrainTimeoutError as error:
            self._return_to_service()
            raise NodeSkippedError(f"{error}\n{self.name} takes work again, with its old packages") from None

    def _install_packages(self) -> None:
        """An interrupted turn may find the machine on its way down or up, or told to reboot and deaf to it."""
        self._wait_for_other_servers()
        wait_until(f"{self.name} to answer over SSH", self.settle_seconds, self._check_booted)
        snapshot = ["snapshot_before_change"] if self.server else []
        with step(f"{self.name}: install packages"):
            calls = [*snapshot, f"upgrade_packages {LOCK_SECONDS}"]
            self.remote.run(package_script(*calls), seconds=INSTALL_SECONDS, say=aside)

    def _check_booted(self, *calls: str) -> bool:
        try:
            self.remote.run(package_script("booted_anew", *calls))
        except RemoteError as error:
            raise NotReadyError(str(error)) from None
        return True

    def _reboot(self) -> None:
        """By the guest itself: the VM's process stays, and with it the cards that are passed through to it."""
        self._wait_for_other_servers()
        if why := self.remote.run(package_script("reboot_due")).strip():
            aside(f"{self.name} reboots for {why}")

    def _wait_until_ready(self) -> None:
        unit = unit_name(Role.SERVER if self.server else Role.WORKER)

        def back() -> bool:
            return self._check_booted(f"systemctl -q is-active {unit} || fail '{unit} is not up yet'")

        def well() -> bool:
            # What the API says of a machine that was down is its last word, until its kubelet speaks again.
            if self._lease_renew_time() == last:
                raise NotReadyError("its kubelet has not reported since")
            if why := unready_reason(self.kube.get(self._path), self.expected_gpus):
                raise NotReadyError(why)
            return True

        with step(f"{self.name}: wait until it is well"):
            try:
                wait_until(f"{self.name} to be up", self.settle_seconds, back)
                last = retry("the API", self.settle_seconds, self._lease_renew_time)
                wait_until(f"{self.name} to be well", self.settle_seconds, well)
            except WaitTimeoutError as error:
                raise WaitTimeoutError(f"{error}; its console in Proxmox shows what it does") from None

    def _lease_renew_time(self) -> str:
        """When its kubelet renewed its Lease last, which it does every ten seconds; empty where it has none."""
        lease = self.kube.find(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.name}")
        return str(lease["spec"]["renewTime"]) if lease else ""

    def _return_to_service(self) -> None:
        spec = {} if upgrade_mark(self._get_node()).endswith(KEEP_CORDON) else {"spec": {"unschedulable": None}}
        self._patch({"metadata": {"annotations": {OS_UPGRADE_ANNOTATION: None}}, **spec})


@dataclass
class UpgradeRun:
    """Turns of nodes that may be at the same time.

    Attributes:
        is_paused: Whether somebody asked to stop after the present nodes.
        skipped: Why nodes were left as they were.
        stuck: Why the round stopped.
        not_started: Nodes whose turn never came.
    """

    is_paused: Callable[[], bool]
    skipped: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    not_started: list[str] = field(default_factory=list)

    def run(self, turns: list[NodeUpgrade], at_once: int) -> None:
        """So many at once; once one is stuck or somebody asks to pause, no other begins."""
        osds = threading.Lock()

        def one(turn: NodeUpgrade) -> None:
            try:
                # One node with OSDs at a time: each takes a copy of everything away while it reboots.
                guard: AbstractContextManager[object] = osds if turn.has_osds() else nullcontext()
                with guard:
                    if self.stuck or self.is_paused():
                        self.not_started.append(turn.name)
                    else:
                        turn.run()
            except NodeSkippedError as error:
                self.skipped.append(str(error))
            except (NodeStuckError, WaitTimeoutError) as error:
                self.stuck.append(str(error))

        with ThreadPoolExecutor(at_once) as workers:
            list(workers.map(one, turns))
