"""K3s's configuration on each node, compared with K3s's list of flags and with the warnings of its guides."""

from typing import Any

import pytest
import yaml

from components.cluster import bootstrap, k3s_config
from config.allocatable import allocatable, kernel_share
from config.hosts import Node
from config.node_labels import node_labels
from config.site import Site
from lab.k3s import flags
from lab.k3s import node as lab_node
from lab.k3s.config import Options
from lab.k3s.node import NodeMachine
from tests.support import golden
from tests.support.sites import SMALL, Settings, site, with_cards

SITE = site()
SERVERS, WORKER = SITE.machines[:3], SITE.machines[3]


def server(campus: Site = SITE, index: int = 0) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(k3s_config.server_config(campus.machines[index], campus))
    return parsed


def agent() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(k3s_config.agent_config(WORKER))
    return parsed


def without_functions(script: str) -> str:
    """A golden file holds what differs; node.sh is reviewed where it is."""
    assert bootstrap.NODE_SH in script
    return script.replace(bootstrap.NODE_SH, "# node.sh\n")


@pytest.mark.parametrize(
    ("config", "known"), [(server(), flags.SERVER), (agent(), flags.AGENT)], ids=["server", "agent"]
)
def test_k3s_knows_every_key(config: dict[str, Any], known: tuple[flags.Flag, ...]) -> None:
    """It refuses to start over one that it does not."""
    assert config.keys() - {flag.name for flag in known} == set()


def test_only_the_machine_differs_between_servers() -> None:
    """K3s refuses a server whose network, tokens or encryption differ."""
    own = {"node-name", "node-ip", "node-label"}
    shared = [{key: value for key, value in server(index=n).items() if key not in own} for n in range(3)]

    assert shared[0] == shared[1] == shared[2]


def test_what_k3s_wants_identical_is_written_down_and_not_left_to_a_default() -> None:
    assert {
        "cluster-cidr",
        "service-cidr",
        "flannel-backend",
        "secrets-encryption",
        "agent-token-file",
    } <= server().keys()


def test_networks_are_the_sites() -> None:
    config = server(site({"network": {"pods": "10.200.0.0/16", "services": "10.201.0.0/16"}}))

    assert (config["cluster-cidr"], config["service-cidr"]) == ("10.200.0.0/16", "10.201.0.0/16")
    assert config["tls-san"] == ["10.9.0.30"], "the certificate must hold the address that moves"


def test_what_we_bring_ourselves_is_off_on_every_server() -> None:
    """MetalLB, our ingress and Ceph; two owners of one thing fight."""
    assert server()["disable"] == ["local-storage", "runtimes", "servicelb", "traefik"]


def test_local_storage_stays_where_there_is_no_ceph() -> None:
    assert "local-storage" not in server(site({"platform": {"storage": {"ceph": {"enabled": False}}}}))["disable"]


@pytest.mark.parametrize("item", server()["disable"])
def test_k3s_knows_what_is_to_be_off(item: str) -> None:
    assert item in flags.DISABLE_ITEMS


def test_tokens_are_named_by_their_files() -> None:
    """A token in config.yaml would be in every copy of it."""
    assert server().keys() & {"token", "agent-token"} == set()
    assert agent().keys() & {"token", "agent-token"} == set()


def kubelet(node: Node) -> dict[str, str]:
    parsed = yaml.safe_load(k3s_config.agent_config(node))
    return dict(argument.partition("=")[::2] for argument in parsed["kubelet-arg"])


def test_a_node_reserves_by_its_cores_and_its_pods() -> None:
    """Without, pods may have everything, and the kubelet ends with them (amazon-eks-ami's formula)."""
    assert WORKER.shape.cores == 18
    assert kubelet(WORKER)["kube-reserved"] == "cpu=115m,memory=1465Mi"
    assert kubelet(WORKER)["system-reserved"] == "cpu=100m,memory=256Mi"


def test_a_server_reserves_for_its_control_plane() -> None:
    assert kubelet(SERVERS[0])["kube-reserved"] == "cpu=330m,memory=3065Mi"


def test_a_node_keeps_memory_free_that_k3s_would_give_away() -> None:
    """K3s sets disk thresholds, which replace the kubelet's own for memory."""
    assert kubelet(WORKER)["eviction-hard"] == "memory.available<100Mi,nodefs.available<5%,imagefs.available<5%"


@pytest.mark.parametrize("node", [SERVERS[0], WORKER], ids=["server", "worker"])
def test_a_node_offers_what_the_settings_count_on(node: Node) -> None:
    """The lab's kubelet has all the memory of the machine; a real one less what Linux keeps (`kernel_share`)."""
    options = Options({"kubelet-arg": tuple(yaml.safe_load(k3s_config.agent_config(node))["kubelet-arg"])})
    machine = NodeMachine(node.name, node.shape.cores, node.shape.memory, 100, ())
    _, offered = lab_node.capacity(machine, options)

    assert offered["cpu"] == f"{allocatable(node).cpu}m"
    assert offered["memory"] == f"{(allocatable(node).memory + kernel_share(node)) * 1024}Ki"


def test_a_new_certificate_reaches_the_pods_that_wait_for_it_in_seconds() -> None:
    """The kubelet's default is a minute, and nobody may start a pod until Kueue has its own."""
    assert kubelet(WORKER)["sync-frequency"] == kubelet(SERVERS[0])["sync-frequency"] == "10s"


def test_pods_have_no_search_domain() -> None:
    """With a wildcard record of the site's domain, github.com would be our ingress."""
    for script in (SCRIPTS["founder"], SCRIPTS["joiner"], SCRIPTS["agent"]):
        assert "nameserver 10.9.0.2\nnameserver 10.9.0.3\n" in script
    assert "search" not in k3s_config.resolv_conf(SITE)
    assert agent()["resolv-conf"] == server()["resolv-conf"] == k3s_config.RESOLV_CONF


def test_servers_are_tainted_and_workers_are_not() -> None:
    """R23; site E taints its workers, so it is a setting."""
    assert server()["node-taint"] == ["node-role.kubernetes.io/control-plane=true:NoSchedule"]
    assert agent()["node-taint"] == []


STORE = {"name": "store-1", "role": "storage", "host": "pve1", "shape": "gpu", "address": "10.9.0.61"}


def test_a_storage_machine_is_kept_for_ceph() -> None:
    node = site({"nodes": [*SMALL["nodes"], STORE]}).machines[-1]

    assert k3s_config.node_taints(node) == ["node-role.kubernetes.io/storage=true:NoSchedule"]
    assert node_labels(node) == {
        "lyceum.io/ceph": "true",
        "scratch": "nvme",
        "topology.rook.io/chassis": "pve1",
    }, "and offers no card"


@pytest.mark.parametrize("taints", [[], ["ceph=only:NoExecute"]])
def test_a_site_may_keep_its_storage_machines_otherwise(taints: list[str]) -> None:
    node = site({"nodes": [*SMALL["nodes"], STORE | {"taints": taints}]}).machines[-1]

    assert k3s_config.node_taints(node) == taints


def test_a_worker_without_cards_has_no_label_of_one() -> None:
    cpu = {"name": "cpu-1", "role": "worker", "host": "pve1", "shape": "server", "address": "10.9.0.62", "gpus": []}
    node = site({"nodes": [*SMALL["nodes"], cpu]}).machines[-1]

    assert node_labels(node) == {"lyceum.io/gpu-model": "none", "topology.rook.io/chassis": "pve1"}
    assert k3s_config.node_taints(node) == []


def test_a_sites_taints_are_given_at_the_first_registration() -> None:
    tainted = SMALL["nodes"][1] | {"taints": ["nvidia.com/gpu=true:NoSchedule"]}
    node = site({"nodes": [SMALL["nodes"][0], tainted]}).machines[3]

    assert k3s_config.node_taints(node) == ["nvidia.com/gpu=true:NoSchedule"]


def test_a_workers_labels_follow_from_its_hardware() -> None:
    assert agent()["node-label"] == [
        "accelerator=nvidia",
        "gpu-model=a100",
        "lyceum.io/ceph=true",
        "lyceum.io/gpu-model=a100-40gb",
        "scratch=nvme",
        "topology.rook.io/chassis=pve1",
    ]


def test_two_models_of_one_family_have_two_labels() -> None:
    small, large = (with_cards({"model": f"a100-{size}gb"}).machines[3] for size in (40, 80))

    assert node_labels(small)["gpu-model"] == node_labels(large)["gpu-model"], "R23 names the family"
    assert node_labels(small)["lyceum.io/gpu-model"] != node_labels(large)["lyceum.io/gpu-model"]


def test_a_sites_label_wins_over_a_derived_one() -> None:
    labelled: Settings = SMALL["nodes"][1] | {"labels": {"scratch": "sata", "rack": "7"}}
    node = site({"nodes": [SMALL["nodes"][0], labelled]}).machines[3]

    assert node_labels(node) == {
        "accelerator": "nvidia",
        "gpu-model": "a100",
        "lyceum.io/ceph": "true",
        "lyceum.io/gpu-model": "a100-40gb",
        "rack": "7",
        "scratch": "sata",
        "topology.rook.io/chassis": "pve1",
    }


@pytest.mark.parametrize("label", agent()["node-label"])
def test_no_label_is_one_that_a_kubelet_may_not_give_itself(label: str) -> None:
    """NodeRestriction refuses `node-role.kubernetes.io` and most of `kubernetes.io`; the node would not register."""
    assert "kubernetes.io/" not in label


def test_no_label_shares_a_card_before_its_driver_is_there() -> None:
    """The device plugin would hand out whole cards (gpu-operator#2670)."""
    node = with_cards({"sharing": "mig", "layout": {"1g.5gb": 7}}).machines[3]

    assert not any(label.startswith("nvidia.com/") for label in node_labels(node))


def test_events_are_rationed_with_limits() -> None:
    """Without limits the API server does not start (kubernetes#62861)."""
    plugins = {
        plugin["name"]: plugin["configuration"]
        for plugin in yaml.safe_load(k3s_config.admission_configuration())["plugins"]
    }

    assert all(limit["qps"] > 0 and limit["burst"] >= limit["qps"] for limit in plugins["EventRateLimit"]["limits"])


def test_pods_are_restricted_where_nobody_says_otherwise() -> None:
    plugins = {
        plugin["name"]: plugin["configuration"]
        for plugin in yaml.safe_load(k3s_config.admission_configuration())["plugins"]
    }

    assert plugins["PodSecurity"]["defaults"]["enforce"] == "restricted"
    assert plugins["PodSecurity"]["exemptions"]["namespaces"] == ["kube-system"]


def test_every_admission_plugin_with_a_configuration_is_switched_on() -> None:
    [switched] = [arg for arg in server()["kube-apiserver-arg"] if arg.startswith("enable-admission-plugins=")]
    configured = {plugin["name"] for plugin in yaml.safe_load(k3s_config.admission_configuration())["plugins"]}

    assert configured - {"PodSecurity"} <= set(switched.partition("=")[2].split(",")), "PodSecurity is on by default"


def test_the_audit_log_holds_no_contents() -> None:
    """At `Request` every Secret would be in it."""
    assert {rule["level"] for rule in yaml.safe_load(k3s_config.audit_policy())["rules"]} == {"Metadata"}


def test_files_that_k3s_reads_are_those_that_the_script_writes() -> None:
    script = bootstrap.server_script(SERVERS[0], SITE, founding=True, token="t", agent_token="a", ca="")
    named = [server()["agent-token-file"], k3s_config.PSA_FILE, k3s_config.AUDIT_FILE]

    assert [path for path in named if f"put 0600 {path} " not in script] == []
    assert "etcd-snapshot-retention" in script


def kube_vip_manifest() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in yaml.safe_load_all(k3s_config.kube_vip_manifest(SITE, "ens18"))}


def test_kube_vip_holds_the_api_address_and_no_service() -> None:
    """With Services it took other nodes' addresses (kube-vip#1288)."""
    [container] = kube_vip_manifest()["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}

    assert (
        environment["address"],
        environment["vip_interface"],
        environment["cp_enable"],
        environment["svc_enable"],
    ) == (
        "10.9.0.30",
        "ens18",
        "true",
        "false",
    )
    assert all(isinstance(value, str) for value in environment.values()), "an environment holds texts"


def test_kube_vip_runs_on_servers_whatever_their_taints() -> None:
    pod = kube_vip_manifest()["DaemonSet"]["spec"]["template"]["spec"]

    assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": "true"}
    assert {"operator": "Exists"} in pod["tolerations"]


@pytest.mark.parametrize("content", ["a line\n", "no newline at its end", "$HOME `reboot` $(reboot) \\ 'quoted'\n"])
def test_a_file_arrives_as_it_is(content: str) -> None:
    """The shell must expand nothing in it."""
    [first, *body, last] = bootstrap._put_call("0600", "/etc/x", content).splitlines(keepends=True)

    assert first.endswith(f"<<'{last.strip()}'\n")
    assert "".join(body) == (content if content.endswith("\n") else f"{content}\n")


CARDS = with_cards({"sharing": "mig", "layout": {"1g.5gb": 7}}, {}, changes={"ca-file": "ca.pem"})
SCRIPTS = {
    "founder": bootstrap.server_script(
        CARDS.machines[0], CARDS, founding=True, token="SERVER-TOKEN", agent_token="AGENT-TOKEN", ca="CAMPUS CA\n"
    ),
    "joiner": bootstrap.server_script(
        CARDS.machines[1], CARDS, founding=False, token="K10CA::server:SERVER-TOKEN", agent_token="AGENT-TOKEN", ca=""
    ),
    "agent": bootstrap.agent_script(CARDS.machines[3], CARDS, token="K10CA::node:AGENT-TOKEN", ca=""),
    "members": bootstrap.members_script(CARDS.machines),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_changes_only_on_purpose(name: str) -> None:
    """A changed script runs again on every node of the campus."""
    golden.check(f"k3s/{name}.sh", without_functions(SCRIPTS[name]))


def test_nodes_that_registered_before_a_label_existed_get_it() -> None:
    """K3s gives labels at the first registration only."""
    objects = list(yaml.safe_load_all(k3s_config.labels_manifest(SITE.machines)))

    assert [one["metadata"]["name"] for one in objects] == [node.name for node in SITE.machines]
    assert objects[3] == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "gpu-1", "labels": node_labels(WORKER)},
    }
    assert k3s_config.labels_manifest(CARDS.machines) in SCRIPTS["members"]
