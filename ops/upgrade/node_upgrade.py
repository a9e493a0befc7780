"""Upgrades the operating system's packages on one node, and on many nodes.

Every step first checks whether it is done, so an interrupted upgrade continues where it stopped: an annotation on the Node
records that this program cordoned it, everything else is read again.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from components.cluster.bootstrap import unit_name
from config.errors import LyceumError
from config.hosts import Role
from ops.clients.kubernetes import Kube, Object
from ops.clients.ssh import RemoteError
from ops.console import print_detail, step
from ops.nodes import drain
from ops.nodes.blockers import Override, is_healthy_server, server_health, unhealthy_others, workload_blockers
from ops.nodes.drain import OS_UPGRADE_ANNOTATION, DrainTimeoutError
from ops.nodes.facts import NodeFacts, gather_facts, is_deployment_ready, is_ready, is_server
from ops.upgrade.os_packages import LOCK_SECONDS, package_script
from ops.upgrade.plan import ClusterNode
from ops.wait import NotReadyError, WaitTimeoutError, retry, wait_until

UNCORDON, KEEP_CORDON = "release", "keep"
"""Values of the annotation: what happens to the node's cordon after its upgrade."""
UNCHECKED = "asked-"
"""Prefix of the value until the node is checked for blockers: a run after a kill checks again."""
READY_SECONDS = 900
"""Firmware and memory test of a physical server alone take minutes."""
INSTALL_SECONDS = 3600
CEPH_SECONDS = 1800
VOTE_SECONDS = 300


class NodeSkippedError(LyceumError):
    """The node was left unchanged and is schedulable; other nodes can continue. The text has the reason."""


class NodeStuckError(LyceumError):
    """The node is partly upgraded and stays cordoned; no other node may start. The text has the remedy."""


class RemoteShell(Protocol):
    """A machine that scripts can be run on (`ops.clients.ssh.Remote`)."""

    def run(self, script: str, *, seconds: float = 300, say: Callable[[str], None] | None = None) -> str:
        """Runs a script as root."""


def upgrade_mark(node: Object) -> str:
    """The value of the upgrade annotation; empty without one."""
    return str((node["metadata"].get("annotations") or {}).get(OS_UPGRADE_ANNOTATION, ""))


def order_nodes(
    nodes: list[ClusterNode], due: set[str], marked: set[str]
) -> tuple[list[ClusterNode], list[ClusterNode]]:
    """Servers and agents to upgrade: those already started first, then servers in order and idle agents before busy ones."""
    wanted = [node for node in nodes if node.name in due | marked]
    servers = sorted((node for node in wanted if node.server), key=lambda node: node.name not in marked)
    agents = [node for node in wanted if not node.server and (node.healthy or node.name in marked)]
    return servers, sorted(agents, key=lambda node: (node.name not in marked, node.gpus, node.workloads, node.name))


def unready_reason(node: Object, expected_gpus: dict[str, int]) -> str:
    """Why a node is not ready for work; empty if it is Ready, a server also a voting member, and it offers its GPUs."""
    if not is_ready(node):
        return "it is not Ready"
    if is_server(node) and not is_healthy_server(node):
        return "it is not a voting member of etcd"
    offered = node["status"].get("allocatable") or {}
    missing = [name for name, count in expected_gpus.items() if int(offered.get(name, 0)) < count]
    return f"its GPUs are missing ({', '.join(missing)}): the operator loads the driver" if missing else ""


def osds_ok_to_stop(facts: NodeFacts) -> bool:
    """Whether a node's OSDs can stop for a while: it has none, or Ceph is healthy and all OSDs run."""
    if not facts.own_osds or facts.ceph is None:
        return True
    # Rook updates the status once a minute: after another node's reboot it may be out of date.
    healthy = facts.ceph.get("status", {}).get("ceph", {}).get("health") == "HEALTH_OK"
    return bool(healthy) and all(map(is_deployment_ready, facts.osds))


@dataclass(frozen=True)
class NodeUpgrade:
    """The upgrade of one node's packages.

    Attributes:
        name: The node.
        server: Whether it is a server.
        kube: The cluster.
        remote: The node's machine.
        expected_gpus: GPUs that it offers when it is ready, by resource name.
        overrides: What may be lost.
        drain_seconds: How long the drain may take.
        ready_seconds: How long the node may take to become ready again.
    """

    name: str
    server: bool
    kube: Kube
    remote: RemoteShell
    expected_gpus: dict[str, int] = field(default_factory=dict)
    overrides: frozenset[Override] = frozenset()
    drain_seconds: float = drain.DEFAULT_MINUTES * 60
    ready_seconds: float = READY_SECONDS

    def run(self) -> None:
        """Runs all steps.

        Raises:
            NodeSkippedError: nothing was changed, and the node is in service.
            NodeStuckError: the upgrade started and could not be finished.
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
                f"{error}\n{self.name} stays cordoned in the middle of its upgrade. Repair the cause and run the same command "
                f"again; it continues there"
            ) from None
        self._return_to_service()

    def has_osds(self) -> bool:
        """Whether Ceph OSDs run on it."""
        return bool(self._gather_facts().own_osds)

    def _get_node(self) -> Object:
        return retry("the API", self.ready_seconds, lambda: self.kube.get(self._path))

    @property
    def _path(self) -> str:
        return f"/api/v1/nodes/{self.name}"

    def _patch(self, change: Object) -> None:
        retry("the API to take a change", self.ready_seconds, lambda: self.kube.patch(self._path, change))

    def _fetch_packages(self) -> None:
        """Downloads while the node is still in service: that takes long and depends on the network."""
        with step(f"{self.name}: fetch packages"):
            try:
                self.remote.run(
                    package_script(f"fetch_packages {LOCK_SECONDS}"), seconds=INSTALL_SECONDS, say=print_detail
                )
            except RemoteError as error:
                raise NodeSkippedError(f"{error}; nothing was changed on it, and it stays in service") from None

    def _take_out_of_service(self, after: str) -> None:
        """Cordons and annotates the node in one patch, then checks for blockers: no new work can start in between.

        Args:
            after: What happens to the cordon afterwards, as an earlier run recorded it; empty if none did.
        """
        after = after or (KEEP_CORDON if drain.is_cordoned(self._get_node()) else UNCORDON)
        self._patch(
            {"metadata": {"annotations": {OS_UPGRADE_ANNOTATION: UNCHECKED + after}}, "spec": {"unschedulable": True}}
        )
        if why := self._find_blocker():
            self._return_to_service()
            raise NodeSkippedError(f"{self.name} was left as it was, with its old packages: {why}")
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
                wait_until(f"Ceph to be healthy before {self.name} goes down", CEPH_SECONDS, self._osds_ok_to_stop)
            except WaitTimeoutError:
                return "it holds OSDs, and Ceph was not HEALTH_OK for half an hour: ./lyceum status shows why"
        return ""

    def _gather_facts(self) -> NodeFacts:
        return retry("the API", self.ready_seconds, lambda: gather_facts(self.kube, self.name))

    def _osds_ok_to_stop(self) -> bool:
        return osds_ok_to_stop(gather_facts(self.kube, self.name))

    def _wait_for_other_servers(self) -> None:
        def others_are_healthy() -> bool:
            if unhealthy := unhealthy_others(server_health(self.kube.items("/api/v1/nodes")), self.name):
                raise NotReadyError(f"{', '.join(unhealthy)} is not healthy")
            return True

        if self.server:
            wait_until(
                f"the other servers to be healthy before {self.name} goes down", VOTE_SECONDS, others_are_healthy
            )

    def _drain(self) -> None:
        self._patch({"spec": {"unschedulable": True}})
        try:
            with step(f"{self.name}: drain"):
                drain.drain_node(
                    self.kube, self.name, self.drain_seconds, ignore_budgets=Override.BUDGETS in self.overrides
                )
        except DrainTimeoutError as error:
            self._return_to_service()
            raise NodeSkippedError(f"{error}\n{self.name} is uncordoned again, with its old packages") from None

    def _install_packages(self) -> None:
        """After an interruption the machine may be shutting down, booting, or still about to reboot."""
        self._wait_for_other_servers()
        wait_until(f"{self.name} to answer over SSH", self.ready_seconds, self._check_booted)
        snapshot = ["snapshot_before_change"] if self.server else []
        with step(f"{self.name}: install packages"):
            calls = [*snapshot, f"upgrade_packages {LOCK_SECONDS}"]
            self.remote.run(package_script(*calls), seconds=INSTALL_SECONDS, say=print_detail)

    def _check_booted(self, *calls: str) -> bool:
        try:
            self.remote.run(package_script("check_booted", *calls))
        except RemoteError as error:
            raise NotReadyError(str(error)) from None
        return True

    def _reboot(self) -> None:
        """Reboots the guest from inside: the VM's process stays, and with it its passed-through GPUs."""
        self._wait_for_other_servers()
        if why := self.remote.run(package_script("request_reboot")).strip():
            print_detail(f"{self.name} reboots for {why}")

    def _wait_until_ready(self) -> None:
        unit = unit_name(Role.SERVER if self.server else Role.WORKER)

        def is_up() -> bool:
            return self._check_booted(f"systemctl -q is-active {unit} || fail '{unit} is not up yet'")

        def is_ready_for_work() -> bool:
            # The API shows the conditions from before the reboot until the kubelet renews its Lease.
            if self._lease_renew_time() == last:
                raise NotReadyError("its kubelet has not reported since the reboot")
            if why := unready_reason(self.kube.get(self._path), self.expected_gpus):
                raise NotReadyError(why)
            return True

        with step(f"{self.name}: wait until it is ready"):
            try:
                wait_until(f"{self.name} to be up", self.ready_seconds, is_up)
                last = retry("the API", self.ready_seconds, self._lease_renew_time)
                wait_until(f"{self.name} to be ready", self.ready_seconds, is_ready_for_work)
            except WaitTimeoutError as error:
                raise WaitTimeoutError(f"{error}; look at its console in Proxmox") from None

    def _lease_renew_time(self) -> str:
        """When its kubelet last renewed its Lease, which it does every ten seconds; empty if there is no Lease."""
        lease = self.kube.find(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.name}")
        return str(lease["spec"]["renewTime"]) if lease else ""

    def _return_to_service(self) -> None:
        spec = {} if upgrade_mark(self._get_node()).endswith(KEEP_CORDON) else {"spec": {"unschedulable": None}}
        self._patch({"metadata": {"annotations": {OS_UPGRADE_ANNOTATION: None}}, **spec})


@dataclass
class UpgradeRun:
    """The upgrade of many nodes, several at a time.

    Attributes:
        is_paused: Whether a pause was requested: the current nodes finish, no other starts.
        skipped: Why nodes were skipped.
        stuck: Why nodes are stuck, which stops the run.
        not_started: Names of the nodes that were not started.
    """

    is_paused: Callable[[], bool]
    skipped: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    not_started: list[str] = field(default_factory=list)

    def run(self, upgrades: list[NodeUpgrade], max_parallel: int) -> None:
        """Runs the upgrades; after one is stuck or a pause is requested, no other starts."""
        osds = threading.Lock()

        def run_one(upgrade: NodeUpgrade) -> None:
            try:
                # One node with OSDs at a time: while it reboots, a replica of its data is missing.
                guard: AbstractContextManager[object] = osds if upgrade.has_osds() else nullcontext()
                with guard:
                    if self.stuck or self.is_paused():
                        self.not_started.append(upgrade.name)
                    else:
                        upgrade.run()
            except NodeSkippedError as error:
                self.skipped.append(str(error))
            except (NodeStuckError, WaitTimeoutError) as error:
                self.stuck.append(str(error))

        with ThreadPoolExecutor(max_parallel) as workers:
            list(workers.map(run_one, upgrades))
