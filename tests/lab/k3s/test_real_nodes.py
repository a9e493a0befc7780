"""What a campus with real pods tells its nodes: settings, places, routes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.k3s import components, kwok, node_settings, packaged, placement, pod_network
from lab.k3s.config import Options
from lab.k3s.paths import Paths
from lab.real_pods import RealPods, missing_programs

PODS = RealPods(("gpu-1", "gpu-2"), ("docker.io/lab/web:1",), "http://10.21.0.2:5000")
NODES = ["server-1", "gpu-1", "gpu-3"]


def pod(mark: str = "real", owner: str = "ReplicaSet") -> dict[str, Any]:
    return {"metadata": {"labels": {"lab.lyceum/pod": mark}, "ownerReferences": [{"kind": owner}]}}


def chosen(**which: str) -> list[str]:
    names: list[str] = placement.filter_nodes({"Pod": pod(**which), "NodeNames": NODES}, PODS)["NodeNames"]
    return names


def test_a_real_pod_goes_to_real_nodes_only() -> None:
    assert chosen() == ["gpu-1"]


def test_a_simulated_pod_goes_anywhere() -> None:
    assert chosen(mark="simulated") == NODES


def test_a_pod_of_a_daemonset_stays_on_its_node() -> None:
    assert chosen(owner="DaemonSet") == NODES


def test_the_scheduler_is_told_why_a_node_is_no_place_for_a_real_pod() -> None:
    answer = placement.filter_nodes({"Pod": pod(), "NodeNames": NODES}, PODS)
    assert answer["FailedAndUnresolvableNodes"]["gpu-3"] == "the lab runs real pods on gpu-1, gpu-2 only"


def test_the_note_of_a_vm_is_read_as_it_was_written(tmp_path: Path) -> None:
    note = tmp_path / "pods.json"
    note.write_text(PODS.to_json())
    assert RealPods.read(note) == PODS


def test_a_vm_without_the_note_has_no_real_pods(tmp_path: Path) -> None:
    assert RealPods.read(tmp_path / "pods.json") is None


def test_a_machine_without_the_programs_is_told_which(tmp_path: Path) -> None:
    assert "labnode" in missing_programs(tmp_path)


def test_real_and_simulated_pods_of_a_node_have_different_addresses() -> None:
    assert node_settings.split_range("10.42.3.0/24") == {
        "subnet": "10.42.3.0/24",
        "rangeStart": "10.42.3.128",
        "rangeEnd": "10.42.3.253",
        "gateway": "10.42.3.254",
    }


@pytest.mark.parametrize("host_ports", [True, False])
def test_ports_of_the_host_are_mapped_where_the_machine_can(host_ports: bool) -> None:
    plugins = json.loads(node_settings.cni_settings("10.42.3.0/24", host_ports=host_ports))["plugins"]
    assert ("portmap" in [plugin["type"] for plugin in plugins]) is host_ports


def test_the_kubelet_gets_the_settings_of_k3s() -> None:
    options = Options({"kubelet-arg": ("pod-max-pids=4096",), "cluster-dns": ("10.43.0.53",)})
    settings = yaml.safe_load(node_settings.kubelet_settings(Path("/agent"), options, "10.21.0.41"))
    assert settings["clusterDNS"] == ["10.43.0.53"]
    assert node_settings.kubelet_flags(options) == ["--pod-max-pids=4096"]


def test_the_kubelet_keeps_memory_but_no_disk_for_the_machine() -> None:
    options = Options({"kubelet-arg": ("eviction-hard=memory.available<100Mi,nodefs.available<5%",)})
    assert node_settings.kubelet_flags(options) == ["--eviction-hard=memory.available<100Mi"]


def test_pods_get_the_name_servers_that_the_settings_name() -> None:
    options = Options({"resolv-conf": ("/etc/rancher/k3s/resolv.conf",)})
    settings = yaml.safe_load(node_settings.kubelet_settings(Path("/agent"), options, "10.21.0.41"))
    assert settings["resolvConf"] == "/etc/rancher/k3s/resolv.conf"


def node(name: str, address: str = "10.21.0.41", **spec: str) -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    return {"metadata": {"name": name}, "spec": spec, "status": status}


def test_routes_lead_to_other_real_nodes() -> None:
    listed = [
        node("gpu-1", podCIDR="10.42.3.0/24"),
        node("gpu-2", "10.21.0.42", podCIDR="10.42.4.0/24"),
        node("server-1", podCIDR="10.42.0.0/24"),
    ]
    assert pod_network.wanted_routes(listed, PODS.nodes, "gpu-1") == {"10.42.4.0/24": "10.21.0.42"}


def test_a_node_without_a_range_yet_has_no_route() -> None:
    assert pod_network.wanted_routes([node("gpu-2")], PODS.nodes, "gpu-1") == {}


def test_routes_change_with_the_nodes() -> None:
    before, after = {"10.42.3.0/24": "10.21.0.41"}, {"10.42.4.0/24": "10.21.0.42"}
    assert pod_network.route_changes(before, after) == [
        "route replace 10.42.4.0/24 via 10.21.0.42",
        "route del 10.42.3.0/24",
    ]


def test_kwok_leaves_node_and_lease_to_a_real_kubelet() -> None:
    configuration, *stages = yaml.safe_load_all(kwok.build_configuration("gpu-1", real=True))
    assert configuration["options"]["nodeLeaseDurationSeconds"] == 0
    of_nodes = [stage["metadata"]["name"] for stage in stages if stage["spec"]["resourceRef"]["kind"] == "Node"]
    assert of_nodes == ["node-never"]


def test_kwok_leaves_real_pods_to_a_real_kubelet() -> None:
    configuration = next(yaml.safe_load_all(kwok.build_configuration("gpu-1", real=True)))
    assert configuration["options"]["disregardStatusWithLabelSelector"] == "lab.lyceum/pod=real"


def test_admission_webhooks_are_asked_where_pods_are_real() -> None:
    command = components.apiserver(Paths(Path("/data")), Options({}), "10.21.0.31", webhooks=True)
    assert not [word for word in command if word.startswith("--disable-admission-plugins")]


def test_coredns_may_read_what_it_answers_from() -> None:
    items = list(yaml.safe_load_all(packaged.packaged_manifests(Options({}))["coredns.yaml"]))
    kinds = [item["kind"] for item in items]
    assert "ClusterRoleBinding" in kinds
    corefile = next(item for item in items if item["kind"] == "ConfigMap")["data"]["Corefile"]
    assert "kubernetes cluster.local in-addr.arpa" in corefile
