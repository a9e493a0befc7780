"""A host registers the Node that K3s would register."""

import json

import pytest

from lab.k3s.config import Options
from lab.k3s.node import KernelDefaults, NodeError, NodeMachine, check_kernel, check_labels, node_object

GPU = {"address": "0000:01:00.0", "vendor": "10de", "device": "20f1", "name": "NVIDIA A100 40GB PCIe"}
MACHINE = NodeMachine("wk1", 48, 131072, 500, (GPU,))


def node(**values: tuple[str, ...]) -> dict:  # type: ignore[type-arg]
    options = Options({name.replace("_", "-"): value for name, value in values.items()})
    return node_object(MACHINE, options, "agent", ("wk1", "10.21.0.38"), "v1.36.3+k3s1")


def test_the_capacity_is_the_machines() -> None:
    capacity = node()["status"]["capacity"]
    assert (capacity["cpu"], capacity["memory"], capacity["pods"]) == ("48", f"{131072 * 1024}Ki", "110")


def test_reservations_leave_less_to_pods() -> None:
    allocatable = node(kubelet_arg=("system-reserved=cpu=500m,memory=1Gi",))["status"]["allocatable"]
    assert allocatable["cpu"] == "47500m"
    assert allocatable["memory"] == f"{131072 * 1024 - 1024 * 1024}Ki"


def test_memory_is_kept_from_pods_only_where_the_settings_say_so() -> None:
    """K3s replaces the kubelet's thresholds by two for disks."""
    threshold = ("eviction-hard=memory.available<100Mi,nodefs.available<5%",)

    assert node()["status"]["allocatable"]["memory"] == f"{131072 * 1024}Ki"
    assert node(kubelet_arg=threshold)["status"]["allocatable"]["memory"] == f"{131072 * 1024 - 100 * 1024}Ki"


def test_a_reservation_of_everything_is_refused() -> None:
    with pytest.raises(NodeError, match="leave nothing"):
        node(kubelet_arg=("kube-reserved=memory=128Gi",))


def test_max_pods_is_the_kubelets() -> None:
    assert node(kubelet_arg=("max-pods=250",))["status"]["capacity"]["pods"] == "250"


def test_the_gpus_are_reported_but_not_advertised() -> None:
    made = node()
    assert json.loads(made["metadata"]["annotations"]["lab.lyceum/gpus"]) == [GPU]
    assert "nvidia.com/gpu" not in made["status"]["capacity"], "that is the device plugin's to do"


def test_labels_and_taints_are_those_of_the_settings() -> None:
    made = node(node_label=("gpu-model=a100",), node_taint=("nvidia.com/gpu=present:NoSchedule",))
    assert made["metadata"]["labels"]["gpu-model"] == "a100"
    assert made["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]


def test_a_malformed_taint_is_refused() -> None:
    with pytest.raises(NodeError, match="gpu=true"):
        node(node_taint=("gpu=true",))


def test_secrets_are_masked_in_the_annotations() -> None:
    words = node(token=("sentinel",), node_label=("a=b",))["metadata"]["annotations"]["k3s.io/node-args"]
    assert "sentinel" not in words
    assert "a=b" in words


@pytest.mark.parametrize("label", ["node-role.kubernetes.io/worker=true", "kubernetes.io/role=gpu", "k8s.io/x=y"])
def test_a_node_may_not_give_itself_reserved_labels(label: str) -> None:
    with pytest.raises(NodeError, match=label.partition("=")[0]):
        check_labels([label])


def test_a_node_may_give_itself_the_allowed_ones() -> None:
    check_labels(
        ["topology.kubernetes.io/zone=a", "node.kubernetes.io/gpu=yes", "example.org/kubernetes.io=x", "plain=1"]
    )


def test_kernel_settings_other_than_the_kubelets_are_named() -> None:
    with pytest.raises(NodeError, match=r"vm/overcommit_memory, expected value: 1, actual value: 0"):
        check_kernel({**KernelDefaults, "vm.overcommit_memory": 0})


def test_the_kubelets_own_kernel_settings_pass() -> None:
    check_kernel(KernelDefaults)
