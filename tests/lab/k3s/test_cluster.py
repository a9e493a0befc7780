"""One cluster of the stand-in, from its founding to its restoration, on machines of its own.

The tests share the cluster and run in order: what breaks something comes last, and mends it.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab.k3s.machines import VERSION, Campus, Machine, wait_for

pytestmark = pytest.mark.lab

VIP = "10.21.0.30"
URL = f"https://{VIP}:6443"
SERVERS = ("cp1", "cp2", "cp3")
K3S = "/usr/local/bin/k3s"
MANIFESTS = "/var/lib/rancher/k3s/server/manifests"

FAIL_OVER_S = 120.0
"""The goal for the API address is fifteen seconds on a machine that does nothing else; this one may be busy."""

PATIENT = ["leader-elect-lease-duration=60s", "leader-elect-renew-deadline=45s"]
"""An API server that hangs for a test's length would otherwise end both, and K3s with them, after ten seconds."""

COMMON: dict[str, object] = {
    "token": "geheim",
    "agent-token": "for-agents",
    "tls-san": [VIP],
    "disable": ["traefik", "servicelb"],
    "secrets-encryption": True,
    "node-taint": ["node-role.kubernetes.io/control-plane=true:NoSchedule"],
    # Upstream waits 50 s before it calls a silent node dead; KWOK speaks up every ten.
    "kube-controller-manager-arg": ["node-monitor-grace-period=20s", *PATIENT],
    "kube-scheduler-arg": PATIENT,
}

KUBE_VIP = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "kube-vip-ds", "namespace": "kube-system"},
    "spec": {
        "selector": {"matchLabels": {"app": "kube-vip"}},
        "template": {
            "metadata": {"labels": {"app": "kube-vip"}},
            "spec": {
                "hostNetwork": True,
                "nodeSelector": {"node-role.kubernetes.io/control-plane": "true"},
                "tolerations": [{"operator": "Exists"}],
                "containers": [
                    {
                        "name": "kube-vip",
                        "image": "ghcr.io/kube-vip/kube-vip:v1.0.1",
                        "env": [{"name": "address", "value": VIP}, {"name": "cp_enable", "value": "true"}],
                    }
                ],
            },
        },
    },
}

MEMBERS = """
import asyncio
from pathlib import Path
from lab.k3s.etcd import Etcd
from lab.k3s.paths import Paths
members = asyncio.run(Etcd("https://127.0.0.1:2379", Paths(Path("/var/lib/rancher/k3s"))).members())
print(*sorted(member.name.rpartition("-")[0] for member in members if not member.learner))
"""


class Cluster:
    """Three servers, one agent, and a machine to try things with."""

    def __init__(self, campus: Campus) -> None:
        self.campus = campus
        self.servers = {name: Machine(campus, 11 + index, name) for index, name in enumerate(SERVERS)}
        self.worker = Machine(campus, 21, "wk1")
        self.spare = Machine(campus, 29, "spare")

    @property
    def first(self) -> Machine:
        return self.servers["cp1"]

    def configure(self, machine: Machine, **settings: object) -> None:
        """Write config.yaml; a setting of None is left out."""
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        config = {name: value for name, value in given.items() if value is not None}
        machine.write("/etc/rancher/k3s/config.yaml", yaml.safe_dump(config))

    def bring_up(self) -> None:
        """Found the cluster, join the others through the API address."""
        self.configure(self.first, cluster_init=True, **COMMON)
        self.first.write(f"{MANIFESTS}/kube-vip.yaml", yaml.safe_dump(KUBE_VIP))
        self.first.start("server")
        wait_for("the first server", self.first.up)
        wait_for("the API address", self.answers)
        for name in SERVERS[1:]:
            self.configure(self.servers[name], server=URL, **COMMON)
            self.servers[name].start("server")
        for name in SERVERS[1:]:
            wait_for(name, self.servers[name].up)
        token = self.first.read("/var/lib/rancher/k3s/server/agent-token").strip()
        self.configure(self.worker, server=URL, token=token, node_label=["gpu-model=a100"])
        self.worker.start("agent")
        wait_for("the agent", self.worker.up)
        wait_for("all nodes Ready", lambda: self.first.nodes() == dict.fromkeys([*SERVERS, "wk1"], "True"))

    def answers(self) -> bool:
        """Whether the API answers at its address, asked from outside."""
        return bool(self.campus.run("curl", "-sk", "--max-time", "1", f"{URL}/readyz"))

    def holders(self) -> list[str]:
        """Return which servers carry the API address."""
        shown = {name: server.run("ip", "address", check=False).stdout for name, server in self.servers.items()}
        return [name for name, text in shown.items() if f"inet {VIP}/32" in text]

    def holder(self) -> str:
        """Return the server that carries the API address; while it moves, none does, or two."""
        found: list[str] = []

        def one() -> bool:
            found[:] = self.holders()
            return len(found) == 1

        wait_for("one holder of the API address", one)
        return found[0]

    def crash(self, machine: Machine) -> None:
        """Kill K3s. kube-vip, which is a pod of its own on a real server, dies with it here: its address goes as well."""
        machine.kill()
        machine.run("ip", "address", "flush", "to", f"{VIP}/32", check=False)
        wait_for("the API address", self.answers)

    def handed_over(self, holder: str) -> bool:
        """Whether another server carries the API address."""
        return self.holders() not in ([holder], [])

    def refused(self, role: str, reason: str, **settings: object) -> None:
        """Start K3s on the spare machine and expect it to end with a reason."""
        self.configure(self.spare, **settings)
        said = self.spare.try_to_start(role)
        assert self.spare.ended()
        assert reason in said, f"expected {reason!r}, K3s said:\n{said[-2000:]}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    campus = Campus(tmp_path_factory.mktemp("person"))
    try:
        made = Cluster(campus)
        made.bring_up()
        yield made
    finally:
        campus.close()


def members(machine: Machine) -> list[str]:
    """Return the nodes whose etcd members have a vote; none while etcd elects a leader."""
    script = f"set -a; . /run/lab/env; exec $LYCEUM_PYTHON -c '{MEMBERS}'"
    return machine.run("sh", "-c", script, check=False).stdout.split()


def test_nodes_have_the_roles_that_k3s_gives(cluster: Cluster) -> None:
    rows = [line.split()[:3] for line in cluster.first.kubectl("get", "nodes", "--no-headers").splitlines()]
    assert rows == [*([name, "Ready", "control-plane,etcd"] for name in SERVERS), ["wk1", "Ready", "<none>"]]


def test_all_servers_have_a_vote(cluster: Cluster) -> None:
    wait_for("three votes", lambda: members(cluster.first) == [*SERVERS])
    node = cluster.first.node("cp3")
    conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
    assert conditions["EtcdIsVoter"] == "True"


def test_the_api_server_says_which_k3s_it_is(cluster: Cluster) -> None:
    version = json.loads(cluster.first.kubectl("get", "--raw", "/version"))
    assert (version["gitVersion"], version["minor"]) == (VERSION, "36"), "charts compare this version"


def test_one_server_holds_the_api_address(cluster: Cluster) -> None:
    assert cluster.holder() in SERVERS


def test_the_kubeconfig_is_for_root_alone(cluster: Cluster) -> None:
    mode = cluster.first.run("stat", "-c", "%a", "/etc/rancher/k3s/k3s.yaml").stdout.strip()
    assert mode == "600"


def test_pods_run_where_a_kubelet_is(cluster: Cluster) -> None:
    cluster.first.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    wait_for(
        "the pods to run",
        lambda: (
            cluster.first.kubectl(
                "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase} {.items[*].spec.nodeName}"
            )
            == "Running Running wk1 wk1"
        ),
    )


def test_a_pod_that_was_marked_unready_while_its_node_was_silent_is_ready_again(cluster: Cluster) -> None:
    """The controller of nodes only ever marks it unready; the rest is its kubelet's."""
    pod = cluster.first.kubectl("get", "pods", "-l", "app=web", "-o", "name").splitlines()[0]
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    unready = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert cluster.first.kubectl("patch", pod, "--subresource=status", "--patch", unready, "-o", ready) == "False"
    wait_for("the pod to be ready", lambda: cluster.first.kubectl("get", pod, "-o", ready) == "True")


def test_a_job_succeeds_or_fails_as_its_annotation_says(cluster: Cluster) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fails"},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": {"lab.lyceum/exit-code": "3"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
            },
        },
    }
    cluster.first.write("/tmp/job.yaml", yaml.safe_dump(job))
    cluster.first.kubectl("apply", "-f", "/tmp/job.yaml")
    cluster.first.kubectl("create", "job", "works", "--image=busybox")
    path = "jsonpath={.status.conditions[*].type}"
    wait_for("a success", lambda: "Complete" in cluster.first.kubectl("get", "job", "works", "-o", path))
    wait_for("a failure", lambda: "Failed" in cluster.first.kubectl("get", "job", "fails", "-o", path))


def test_secrets_are_encrypted_on_the_disk(cluster: Cluster) -> None:
    cluster.first.kubectl("create", "secret", "generic", "canary", "--from-literal=key=CANARYSECRET")
    cluster.first.kubectl("create", "configmap", "canary", "--from-literal=key=CANARYPLAIN")
    count = "cat $(find /var/lib/rancher/k3s/server/db/etcd/member -type f) | grep -ac {} || true"
    found = {word: cluster.first.run("sh", "-c", count.format(word)).stdout for word in ("CANARYPLAIN", "CANARYSECRET")}
    assert int(found["CANARYPLAIN"]) > 0, "the control: plain data is found this way"
    assert int(found["CANARYSECRET"]) == 0


def test_a_manifest_is_applied_and_applied_again_when_it_changes(cluster: Cluster) -> None:
    def written(value: str) -> str:
        metadata = {"name": "deployed", "namespace": "default"}
        return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": value}})

    for value in ("first", "second"):
        cluster.first.write(f"{MANIFESTS}/extra.yaml", written(value))
        wait_for(
            f"the {value} manifest",
            lambda value=value: (  # type: ignore[misc]
                cluster.first.kubectl("get", "configmap", "deployed", "-o", "jsonpath={.data.key}", check=False)
                == value
            ),
        )
    cluster.first.write(f"{MANIFESTS}/other.yaml.skip", "")
    cluster.first.write(f"{MANIFESTS}/other.yaml", written("third"))
    time.sleep(2.5)
    assert cluster.first.kubectl("get", "configmap", "deployed", "-o", "jsonpath={.data.key}") == "second", ".skip"


def test_a_node_may_not_give_itself_a_role(cluster: Cluster) -> None:
    command = [K3S, "kubectl", "--kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "label", "node"]
    assert cluster.worker.run(*command, "wk1", "plain=yes", check=False).returncode == 0, "the control"
    refused = cluster.worker.run(*command, "wk1", "node-role.kubernetes.io/worker=true", check=False)
    assert "is not allowed to modify labels" in refused.stderr, "NodeRestriction holds for the lab's nodes as well"


def test_a_server_with_a_wrong_token_is_refused(cluster: Cluster) -> None:
    cluster.refused("server", "401 Unauthorized", server=URL, **{**COMMON, "token": "wrong"})


def test_a_token_for_agents_makes_no_server(cluster: Cluster) -> None:
    cluster.refused("server", "401 Unauthorized", server=URL, **{**COMMON, "token": "for-agents"})


def test_a_server_that_expects_another_ca_is_refused(cluster: Cluster) -> None:
    token = f"K10{'0' * 64}::server:geheim"
    reason = "token CA hash does not match the Cluster CA certificate hash"
    cluster.refused("server", reason, server=URL, **{**COMMON, "token": token})


def test_a_server_with_other_critical_settings_is_refused(cluster: Cluster) -> None:
    reason = "critical configuration value mismatch between servers: flannel-backend"
    cluster.refused("server", reason, server=URL, **{**COMMON, "flannel-backend": "host-gw"})


def test_an_unknown_flag_is_refused(cluster: Cluster) -> None:
    cluster.refused("agent", "flag provided but not defined: -nod-label", nod_label=["a=b"], server=URL)


def test_an_agent_configured_with_a_role_does_not_start(cluster: Cluster) -> None:
    role = "node-role.kubernetes.io/worker"
    cluster.refused("agent", f"['{role}']", server=URL, token="for-agents", node_label=[f"{role}=true"])


def test_a_second_host_of_the_same_name_is_refused(cluster: Cluster) -> None:
    cluster.configure(cluster.spare, server=URL, token="for-agents", node_name="wk1")
    cluster.spare.start("agent")
    cluster.spare.says("Node password rejected, duplicate hostname")
    assert not cluster.spare.up()
    cluster.spare.stop()


def test_a_dead_hosts_node_is_not_ready_and_its_name_is_freed_when_deleted(cluster: Cluster) -> None:
    cluster.configure(cluster.spare, server=URL, token="for-agents")
    cluster.spare.start("agent")
    wait_for("the agent", cluster.spare.up)
    cluster.spare.stop()
    wait_for("the spare to be called dead", lambda: cluster.first.nodes().get("spare") == "Unknown")
    secret = ["get", "secret", "-n", "kube-system", "spare.node-password.k3s", "--ignore-not-found", "-o", "name"]
    assert cluster.first.kubectl(*secret)
    cluster.first.delete_node("spare")
    assert not cluster.first.kubectl(*secret), "a new host of this name could not register"


def test_the_api_address_leaves_a_server_whose_api_hangs(cluster: Cluster) -> None:
    holder = cluster.holder()
    stopped = cluster.servers[holder]
    stopped.run("sh", "-c", "kill -STOP $(pgrep -f '[k]ube kube-apiserver')")
    try:
        gap = wait_for("an answer, which only another server can give", cluster.answers)
    finally:
        stopped.run("sh", "-c", "kill -CONT $(pgrep -f '[k]ube kube-apiserver')")
    wait_for("another holder", lambda: cluster.handed_over(holder))
    assert gap <= FAIL_OVER_S


def expiries(machine: Machine) -> int:
    """Return how often the address changed hands because its Lease ended; one that is given back does not count."""
    lease = ("get", "lease", "plndr-cp-lock", "-n", "kube-system")
    return int(machine.kubectl(*lease, "-o", "jsonpath={.spec.leaseTransitions}"))


def test_a_server_that_stops_hands_the_address_over_instead_of_letting_its_lease_end(cluster: Cluster) -> None:
    holder = cluster.holder()
    witness = next(server for name, server in cluster.servers.items() if name != holder)
    before = expiries(witness)
    cluster.servers[holder].stop()
    wait_for("another holder", lambda: cluster.handed_over(holder))
    assert expiries(witness) == before
    cluster.servers[holder].start("server")
    wait_for("the server to come back", cluster.servers[holder].up)


def test_the_api_stays_reachable_when_its_server_dies(cluster: Cluster) -> None:
    holder = cluster.holder()
    cluster.servers[holder].power_off()
    assert wait_for("the API at its address", cluster.answers) <= FAIL_OVER_S
    cluster.configure(cluster.spare, server=URL, token="for-agents")
    cluster.spare.run("rm", "-rf", "/var/lib/rancher", "/etc/rancher/node")
    cluster.spare.start("agent")
    wait_for("a new agent", cluster.spare.up)
    cluster.servers[holder].power_on()
    cluster.servers[holder].start("server")
    wait_for("the server to come back", cluster.servers[holder].up)
    wait_for("three votes", lambda: members(cluster.servers[holder]) == [*SERVERS])


def said_to_have_left(node: dict[str, Any]) -> bool:
    """Whether K3s has written so; it does a moment after etcd let the member go."""
    annotations = node["metadata"]["annotations"]
    return bool(annotations.get("etcd.k3s.cattle.io/removed-node-name") == annotations["etcd.k3s.cattle.io/node-name"])


def test_a_server_that_is_asked_to_leaves_etcd_and_can_join_again(cluster: Cluster) -> None:
    third = cluster.servers["cp3"]
    cluster.first.kubectl("annotate", "node", "cp3", "etcd.k3s.cattle.io/remove=true")
    wait_for("etcd of two", lambda: members(cluster.first) == ["cp1", "cp2"])
    wait_for("the word that it left", lambda: said_to_have_left(cluster.first.node("cp3")))
    cluster.first.delete_node("cp3")
    wait_for("its K3s to end", third.ended)
    assert "this node has been removed from the cluster" in third.log()
    wait_for("the API address", cluster.answers)
    third.start("server")
    wait_for("the server to join again", third.up)
    wait_for("three votes", lambda: members(cluster.first) == [*SERVERS])


def test_a_server_killed_while_it_joins_finishes_at_the_next_start(cluster: Cluster) -> None:
    third = cluster.servers["cp3"]
    cluster.crash(third)
    cluster.first.delete_node("cp3")
    third.run("rm", "-rf", "/var/lib/rancher/k3s/server/db")
    before = len(third.log())
    third.start("server")
    third.says("Adding member", since=before)
    cluster.crash(third)
    third.start("server")
    wait_for("the server to join", third.up)
    wait_for("three votes", lambda: members(cluster.first) == [*SERVERS])


def rotated(machine: Machine, token: str) -> str:
    return machine.run(K3S, "token", "rotate", "--new-token", token).stdout


def restarts(machine: Machine) -> None:
    machine.stop()
    machine.start("server")
    wait_for(f"{machine.name} to be back", machine.up)


def refused_start(machine: Machine) -> str:
    """Stop K3s, start it, and return why it ended."""
    machine.stop()
    said = machine.try_to_start("server")
    assert machine.ended()
    return said


def test_a_rotated_token_shuts_out_a_server_that_starts_with_the_old_one(cluster: Cluster) -> None:
    """Its own files are changed by that start: the new token alone does not mend it."""
    second = cluster.servers["cp2"]
    time.sleep(4)  # K3s takes files that differ by less than three seconds in age for equally old
    assert "Token rotated, restart k3s nodes with new token" in rotated(cluster.first, "second")

    assert "bootstrap data already found and encrypted with different token" in refused_start(second)
    time.sleep(4)
    cluster.configure(second, server=URL, **{**COMMON, "token": "second"})
    # The rotation itself is what is older: its copy of the tokens was saved before this server changed its own.
    assert "passwd newer than datastore and could cause a cluster outage" in refused_start(second)
    second.run("rm", "/var/lib/rancher/k3s/server/cred/passwd")
    second.start("server")
    wait_for("the second server", second.up)
    wait_for("three votes", lambda: members(cluster.first) == [*SERVERS])


def test_the_other_servers_take_the_new_token_when_they_start(cluster: Cluster) -> None:
    for name in ("cp1", "cp3"):
        join: dict[str, object] = {"cluster_init": True} if name == "cp1" else {"server": URL}
        cluster.configure(cluster.servers[name], **join, **{**COMMON, "token": "second"})
        restarts(cluster.servers[name])
        assert cluster.servers[name].read("/var/lib/rancher/k3s/server/token").strip().endswith("::server:second")


def test_a_changed_agent_token_lasts_when_the_bootstrap_data_is_saved_again(cluster: Cluster) -> None:
    """K3s does not do that by itself: without it, the second start from now is refused."""
    COMMON.update(token="second", **{"agent-token": "agents-second"})
    cluster.configure(cluster.first, cluster_init=True, **COMMON)
    time.sleep(4)
    restarts(cluster.first)
    assert "passwd newer than datastore" in refused_start(cluster.first), "the control"

    cluster.first.run("rm", "/var/lib/rancher/k3s/server/cred/passwd")
    restarts(cluster.first)
    rotated(cluster.first, "second")
    restarts(cluster.first)
    for name in ("cp2", "cp3"):
        cluster.configure(cluster.servers[name], server=URL, **COMMON)
        restarts(cluster.servers[name])
    cluster.configure(cluster.spare, server=URL, token="for-agents")
    before = len(cluster.spare.log())
    cluster.spare.stop()
    cluster.spare.start("agent")
    cluster.spare.says("401 Unauthorized", since=before)
    cluster.configure(cluster.spare, server=URL, token="agents-second")
    cluster.spare.stop()
    cluster.spare.start("agent")
    wait_for("an agent with the new token", cluster.spare.up)


def test_a_snapshot_restores_the_cluster_with_its_token_only(cluster: Cluster) -> None:
    cluster.first.kubectl("create", "configmap", "before")
    cluster.first.run(K3S, "etcd-snapshot", "save", "--name", "drill")
    listed = json.loads(cluster.first.run(K3S, "etcd-snapshot", "ls", "-o", "json").stdout)
    names = [item["spec"]["snapshotName"] for item in listed["items"]]
    [name] = [one for one in names if one.startswith("drill-cp1-")]  # a scheduled one may lie beside it
    cluster.first.kubectl("create", "configmap", "after")
    for server in cluster.servers.values():
        server.stop()
    cluster.first.run("mv", f"/var/lib/rancher/k3s/server/db/snapshots/{name}", "/root/drill")
    cluster.first.run("rm", "-rf", "/var/lib/rancher/k3s")

    restore = ["server", "--cluster-reset", "--cluster-reset-restore-path=/root/drill"]
    cluster.configure(cluster.first, **{**COMMON, "token": "another"})
    refused = cluster.first.run(K3S, *restore, check=False)
    assert "bootstrap data already found and encrypted with different token" in refused.stderr
    cluster.configure(cluster.first, **COMMON)
    restored = cluster.first.run(K3S, *restore)
    assert "Managed etcd cluster membership has been reset" in restored.stderr

    cluster.first.start("server")
    wait_for("the restored server", cluster.first.up)
    found = cluster.first.kubectl("get", "configmaps", "-o", "name").split()
    assert "configmap/before" in found
    assert "configmap/after" not in found
    wait_for("the API address", cluster.answers)
    for server in (cluster.servers["cp2"], cluster.servers["cp3"]):
        server.run("rm", "-rf", "/var/lib/rancher/k3s/server/db")
        server.start("server")
    for server in cluster.servers.values():
        wait_for(server.name, server.up)
    wait_for("three votes", lambda: members(cluster.first) == [*SERVERS])
    wait_for("the agent to be back", lambda: cluster.first.nodes().get("wk1") == "True")
