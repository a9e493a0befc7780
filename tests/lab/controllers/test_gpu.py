"""Nodes offer what their cards, their labels and the release's configuration make of them."""

import json
from datetime import timedelta
from typing import Any

import pytest
import yaml

from components.platform.gpus import FIELDS, exported_fields
from lab.controllers.changes import Change, PostEvent
from lab.controllers.gpu import drivers, features, operator, sharing
from lab.controllers.snapshot_cache import ClusterCache, Object, get_path, labels
from tests.lab.controllers.objects import after, cache, notes, running, thing

OPERATOR = running("gpu-operator", "gpu-operator", component="gpu-operator")
NFD = running("gpu-operator-node-feature-discovery-worker", "gpu-operator", kind="DaemonSet")

MIG = {
    "version": "v1",
    "mig-configs": {
        "all-disabled": [{"devices": "all", "mig-enabled": False}],
        "seven": [{"devices": "all", "mig-enabled": True, "mig-devices": {"1g.5gb": 7}}],
        "one-whole": [
            {"devices": [0], "mig-enabled": True, "mig-devices": {"3g.20gb": 2}},
            {"devices": [1], "mig-enabled": False},
        ],
        "too-much": [{"devices": "all", "mig-enabled": True, "mig-devices": {"4g.20gb": 1, "1g.5gb": 4}}],
        "other-card": [
            {"devices": "all", "device-filter": ["0x20B710DE"], "mig-enabled": True, "mig-devices": {"1g.6gb": 4}}
        ],
    },
}
SLICED = {"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": 4}]}}}
RENAMED = {
    "sharing": {"timeSlicing": {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 4}]}}
}
MPS = {"sharing": {"mps": {"resources": [{"name": "nvidia.com/gpu", "replicas": 3}]}}}
MIXED = {"flags": {"migStrategy": "mixed"}}
A100, T4, RTX_4090 = "20f1", "1eb8", "2684"


def config_map(name: str, **data: Object) -> Object:
    return thing(
        "ConfigMap",
        name,
        "gpu-operator",
        data={key.replace("_", "."): yaml.safe_dump(item) for key, item in data.items()},
    )


def cluster_policy(strategy: str = "mixed", **spec: Any) -> Object:
    base: Object = {
        "mig": {"strategy": strategy},
        "migManager": {"enabled": True, "config": {"name": "mig", "default": "all-disabled"}},
        "devicePlugin": {"enabled": True, "config": {"name": "plugin", "default": "default"}},
    }
    return thing("ClusterPolicy", "cluster-policy", spec={**base, **spec})


def gpu_node(*devices: str, **marks: str) -> Object:
    listed = [
        {"address": f"0000:0{at}:00.0", "vendor": "10de", "device": device, "name": "NVIDIA"}
        for at, device in enumerate(devices)
    ]
    named = {label.replace("__", "/").replace("_", "."): value for label, value in marks.items()}
    metadata = {"labels": named, "annotations": {"lab.lyceum/gpus": json.dumps(listed)}}
    return thing(
        "Node", "gpu-01", metadata=metadata, spec={}, status={"capacity": {"cpu": "8"}, "allocatable": {"cpu": "8"}}
    )


def campus(node: Object, policy: Object | None = None, *more: Object) -> ClusterCache:
    plugin = config_map("plugin", default={}, sliced=SLICED, renamed=RENAMED, mps=MPS, mixed=MIXED)
    return cache(OPERATOR, NFD, policy or cluster_policy(), config_map("mig", config_yaml=MIG), plugin, node, *more)


def reconcile(cluster: ClusterCache) -> list[Change]:
    """Lets all three decide until nothing changes; two seconds pass between decisions."""
    everything: list[Change] = []
    for _ in range(10):
        cluster.now += timedelta(seconds=2)
        changes: list[Change] = []
        for decide in (features.decide, operator.decide, sharing.decide):
            step = list(decide(cluster))
            after(cluster, step)
            changes += step
        everything += changes
        if all(isinstance(change, PostEvent) for change in changes):
            return everything  # the runner sends the same note only once
    raise AssertionError(f"does not settle: {everything[-3:]}")


def node(cluster: ClusterCache) -> Object:
    found = cluster.get("Node", "gpu-01")
    assert found is not None
    return found


def offered(cluster: ClusterCache) -> dict[str, str]:
    both = [get_path(node(cluster), "status", part) for part in ("capacity", "allocatable")]
    resources = [{key: value for key, value in part.items() if key.startswith("nvidia.com/")} for part in both]
    assert resources[0] == resources[1]
    return resources[0]


def settled(item: Object, policy: Object | None = None) -> ClusterCache:
    cluster = campus(item, policy)
    reconcile(cluster)
    return cluster


def test_whole_cards_are_offered_as_gpus() -> None:
    cluster = settled(gpu_node(A100, A100))
    assert offered(cluster) == {"nvidia.com/gpu": "2"}
    found = labels(node(cluster))
    assert found["nvidia.com/gpu.product"] == "NVIDIA-A100-PCIE-40GB"
    assert (found["nvidia.com/gpu.count"], found["nvidia.com/gpu.memory"]) == ("2", "40960")


def test_a_mig_layout_is_offered_as_its_profiles() -> None:
    cluster = settled(gpu_node(A100, nvidia_com__mig_config="seven"))
    assert offered(cluster) == {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "7"}
    assert labels(node(cluster))["nvidia.com/mig.config.state"] == "success"
    assert labels(node(cluster))["nvidia.com/mig-1g.5gb.count"] == "7"


def test_cards_of_one_node_may_be_cut_differently() -> None:
    cluster = settled(gpu_node(A100, A100, nvidia_com__mig_config="one-whole"))
    assert offered(cluster) == {"nvidia.com/gpu": "1", "nvidia.com/mig-3g.20gb": "2"}


def test_the_single_strategy_offers_equal_slices_as_gpus() -> None:
    cluster = settled(gpu_node(A100, nvidia_com__mig_config="seven"), cluster_policy("single"))
    assert offered(cluster) == {"nvidia.com/gpu": "7"}
    assert labels(node(cluster))["nvidia.com/gpu.product"] == "NVIDIA-A100-PCIE-40GB-MIG-1g.5gb"


def test_the_single_strategy_offers_nothing_when_cards_differ() -> None:
    cluster = settled(gpu_node(A100, A100, nvidia_com__mig_config="one-whole"), cluster_policy("single"))
    assert offered(cluster) == {"nvidia.com/gpu": "0"}


def test_a_new_layout_is_pending_before_it_succeeds_and_offers_nothing_meanwhile() -> None:
    cluster = settled(gpu_node(A100))
    node(cluster)["metadata"]["labels"]["nvidia.com/mig.config"] = "seven"
    after(cluster, list(sharing.decide(cluster)))
    assert labels(node(cluster))["nvidia.com/mig.config.state"] == "pending"
    assert offered(cluster) == {}
    reconcile(cluster)
    assert offered(cluster)["nvidia.com/mig-1g.5gb"] == "7"


def test_going_back_to_whole_cards_removes_the_labels_of_the_slices() -> None:
    cluster = settled(gpu_node(A100, nvidia_com__mig_config="seven"))
    node(cluster)["metadata"]["labels"]["nvidia.com/mig.config"] = "all-disabled"
    reconcile(cluster)
    assert offered(cluster) == {"nvidia.com/gpu": "1"}
    assert not [label for label in labels(node(cluster)) if label.startswith("nvidia.com/mig-")]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sven", "no MIG configuration 'sven'"),
        ("too-much", "has no placement on NVIDIA-A100-PCIE-40GB"),
    ],
)
def test_a_layout_that_cannot_be_fails_and_says_why(name: str, why: str) -> None:
    cluster = campus(gpu_node(A100, nvidia_com__mig_config=name))
    assert any(why in message for _, message in notes(reconcile(cluster)))
    assert labels(node(cluster))["nvidia.com/mig.config.state"] == "failed"


def test_a_device_filter_leaves_other_cards_whole() -> None:
    assert offered(settled(gpu_node(A100, nvidia_com__mig_config="other-card"))) == {"nvidia.com/gpu": "1"}


def test_without_a_file_the_layouts_come_from_the_hardware() -> None:
    policy = cluster_policy(migManager={"enabled": True, "config": {"name": "", "default": "all-disabled"}})
    cluster = settled(gpu_node(A100, nvidia_com__mig_config="all-2g.10gb"), policy)
    assert offered(cluster)["nvidia.com/mig-2g.10gb"] == "3"


def test_a_mig_capable_node_without_a_layout_gets_the_default() -> None:
    assert labels(node(settled(gpu_node(A100))))["nvidia.com/mig.config"] == "all-disabled"
    assert "nvidia.com/mig.config" not in labels(node(settled(gpu_node(T4)))), "a T4 has no MIG"


@pytest.mark.parametrize(
    ("config", "resources", "product", "strategy"),
    [
        ("sliced", {"nvidia.com/gpu": "4"}, "Tesla-T4-SHARED", "time-slicing"),
        ("renamed", {"nvidia.com/gpu.shared": "4"}, "Tesla-T4", "time-slicing"),
        ("mps", {"nvidia.com/gpu": "3"}, "Tesla-T4-SHARED", "mps"),
        ("default", {"nvidia.com/gpu": "1"}, "Tesla-T4", "none"),
    ],
)
def test_a_shared_card_is_offered_once_for_each_replica(
    config: str, resources: dict[str, str], product: str, strategy: str
) -> None:
    cluster = settled(gpu_node(T4, nvidia_com__device_plugin_config=config) | {}, cluster_policy(""))
    node(cluster)["metadata"]["labels"]["nvidia.com/device-plugin.config"] = config
    reconcile(cluster)
    assert offered(cluster) == resources
    found = labels(node(cluster))
    assert (found["nvidia.com/gpu.product"], found["nvidia.com/gpu.sharing-strategy"]) == (product, strategy)


def test_mps_beside_the_mixed_strategy_ends_the_device_plugin() -> None:
    cluster = settled(gpu_node(T4))
    node(cluster)["metadata"]["labels"]["nvidia.com/device-plugin.config"] = "mps"

    assert ("DevicePluginFailed", "using --mig-strategy=mixed is not supported with MPS") in notes(reconcile(cluster))
    assert offered(cluster) == {"nvidia.com/gpu": "0"}


def test_without_a_strategy_of_the_operator_each_nodes_file_decides() -> None:
    cluster = settled(gpu_node(A100, nvidia_com__mig_config="seven"), cluster_policy(""))
    assert offered(cluster) == {"nvidia.com/gpu": "1"}, "the plugin's own default is none"

    node(cluster)["metadata"]["labels"]["nvidia.com/device-plugin.config"] = "mixed"
    reconcile(cluster)
    assert offered(cluster) == {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "7"}


def test_a_missing_device_plugin_configuration_offers_nothing() -> None:
    cluster = settled(gpu_node(T4))
    node(cluster)["metadata"]["labels"]["nvidia.com/device-plugin.config"] = "slcied"
    assert ("DevicePluginConfigMissing", "specified config 'slcied' does not exist") in notes(reconcile(cluster))
    assert offered(cluster) == {"nvidia.com/gpu": "0"}


def test_a_card_that_is_taken_out_is_no_longer_found_nor_offered() -> None:
    cluster = settled(gpu_node(T4))
    node(cluster)["metadata"]["annotations"]["lab.lyceum/gpus"] = "[]"
    reconcile(cluster)
    assert offered(cluster) == {}
    assert "feature.node.kubernetes.io/pci-10de.present" not in labels(node(cluster))


def test_the_policy_is_ready_only_when_its_daemonsets_are() -> None:
    cluster = campus(gpu_node(A100))
    after(cluster, list(features.decide(cluster)))
    changes = list(operator.decide(cluster))
    after(cluster, changes)
    assert get_path(cluster.all("ClusterPolicy")[0], "status", "state") == "notReady", "nothing runs yet"
    reconcile(cluster)
    assert get_path(cluster.all("ClusterPolicy")[0], "status", "state") == "ready"


def test_without_node_features_the_policy_is_not_ready_and_nothing_is_offered() -> None:
    cluster = campus(gpu_node(A100))
    cluster.objects["DaemonSet"].clear()
    reconcile(cluster)
    status = get_path(cluster.all("ClusterPolicy")[0], "status")
    assert (status["state"], status["conditions"][0]["reason"]) == ("notReady", "NFDLabelsMissing")
    assert offered(cluster) == {}


def test_a_cluster_without_gpus_is_ready_and_gets_no_daemonsets() -> None:
    cluster = campus(gpu_node())
    reconcile(cluster)
    status = get_path(cluster.all("ClusterPolicy")[0], "status")
    assert (status["state"], status["conditions"][0]["reason"]) == ("ready", "NoGPUNodes")
    assert cluster.get("DaemonSet", "nvidia-device-plugin-daemonset", "gpu-operator") is None


def test_a_switched_off_part_is_not_deployed() -> None:
    cluster = settled(gpu_node(A100), cluster_policy(driver={"enabled": False}))
    assert cluster.get("DaemonSet", "nvidia-driver-daemonset", "gpu-operator") is None
    assert "nvidia.com/gpu.deploy.driver" not in labels(node(cluster))


def test_the_runtime_class_exists_only_without_the_nri_plugin() -> None:
    assert settled(gpu_node(A100)).get("RuntimeClass", "nvidia") is not None
    with_nri = settled(gpu_node(A100), cluster_policy(cdi={"enabled": True, "nriPluginEnabled": True}))
    assert with_nri.get("RuntimeClass", "nvidia") is None


def test_with_the_device_plugin_goes_what_it_offered() -> None:
    cluster = settled(gpu_node(A100))
    cluster.objects["ClusterPolicy"].clear()
    del cluster.objects["DaemonSet"]["gpu-operator", "nvidia-device-plugin-daemonset"]
    reconcile(cluster)
    assert offered(cluster) == {}


def test_an_outage_of_operator_and_plugin_takes_no_card_from_a_node() -> None:
    cluster = settled(gpu_node(A100))
    for kind in ("Deployment", "DaemonSet"):
        for item in cluster.objects[kind].values():
            item["status"] = {}
    reconcile(cluster)
    assert offered(cluster) == {"nvidia.com/gpu": "1"}, "kubelets keep what they advertise while nobody can reach them"


def drivers_of(cluster: ClusterCache) -> dict[str, tuple[str, str]]:
    """Driver that each node tells, and where its upgrade stands."""
    marks = {item["metadata"]["name"]: labels(item) for item in cluster.all("Node")}
    return {
        called: (found.get("nvidia.com/cuda.driver-version.full", ""), found.get(drivers.UPGRADE_STATE, ""))
        for called, found in marks.items()
    }


def upgrading(*skipped: str) -> ClusterCache:
    """Two nodes that run the old driver; the policy wants another."""
    nodes = []
    for called in ("gpu-01", "gpu-02"):
        item = gpu_node(A100, nvidia_com__gpu_driver_upgrade_skip="true") if called in skipped else gpu_node(A100)
        item["metadata"]["labels"] = {
            drivers.SKIP_UPGRADE if label.endswith("skip") else label: value for label, value in labels(item).items()
        }
        item["metadata"]["name"] = called
        item["metadata"]["annotations"][drivers.LOADED_DRIVER] = "580.95.05"
        nodes.append(item)
    loader = running("nvidia-driver-daemonset", "gpu-operator", kind="DaemonSet")
    policy = cluster_policy(driver={"enabled": True, "version": "595.91.07"})
    return cache(OPERATOR, NFD, loader, policy, *nodes)


def decided(cluster: ClusterCache, rounds: int, seconds: float = 2) -> ClusterCache:
    for _ in range(rounds):
        cluster.now += timedelta(seconds=seconds)
        for decide in (features.decide, drivers.decide):
            after(cluster, list(decide(cluster)))
    return cluster


def test_a_driver_is_upgraded_one_node_after_the_other() -> None:
    begun = drivers_of(decided(upgrading(), 2))
    assert begun["gpu-01"][1] == "pod-restart-required"
    assert begun["gpu-02"] == ("580.95.05", "upgrade-required")

    done = ("595.91.07", "upgrade-done")
    assert drivers_of(decided(upgrading(), 12)) == {"gpu-01": done, "gpu-02": done}


def test_a_node_that_somebody_keeps_from_the_upgrade_stays_behind() -> None:
    found = drivers_of(decided(upgrading("gpu-01"), 12))

    assert found == {"gpu-01": ("580.95.05", "upgrade-required"), "gpu-02": ("595.91.07", "upgrade-done")}


def exported(product: str) -> dict[str, str]:
    """Series of the exporter's stand-in on a node with one card of a kind -> value, for the product's own list of fields."""
    fields = config_map("dcgm") | {"data": {"dcgm-metrics.csv": exported_fields()}}
    policy = cluster_policy(dcgmExporter={"enabled": True, "config": {"name": "dcgm"}})
    cluster = campus(gpu_node(product), policy, fields)
    reconcile(cluster)
    text = get_path(cluster.get("ConfigMap", "lab-dcgm", "gpu-operator") or {}, "data", "gpu-01")
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {series.partition("{")[0]: value for series, _, value in lines}


def test_the_exporter_of_a_real_node_gives_the_fields_that_the_release_lists() -> None:
    asked = {name for name, kind, _ in FIELDS if kind != "label"}

    assert exported(A100).keys() == asked


def test_a_geforce_card_has_no_profiling_metrics() -> None:
    """NVIDIA offers them on data centre cards only."""
    given = exported(RTX_4090)

    assert "DCGM_FI_DEV_GPU_UTIL" in given
    assert [name for name in given if "_PROF_" in name] == []
