"""What each layer tells its chart, and why: the settings that somebody once learnt the hard way."""

from typing import Any

import pytest
import yaml

from components.platform import certificates, gpus, ingress, load_balancers, monitoring, queues, storage
from config.allocatable import total
from config.capacity import left_for_people
from config.layers import LAYERS, unqueued_namespaces
from config.node_labels import node_labels
from config.requests import CEPH
from config.resource_names import COMMAND_TYPE
from config.site import Site
from tests.support.layers import GRAFANA, HUB, RELEASE, layers_graph
from tests.support.mocks import Graph
from tests.support.sites import SMALL, Settings, site, with_cards

MIG7 = {"sharing": "mig", "layout": {"1g.5gb": 7}}
NFS: Settings = {"platform": {"storage": {"nfs": {"server": "nfs.campus.example", "share": "/homes"}}}}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return layers_graph(with_cards(MIG7))


def custom(graph: Graph, kind: str, name: str) -> dict[str, Any]:
    [found] = [one for one in graph.by_urn.values() if one.name == f"{kind.lower()}-{name}"]
    return found.inputs


# MetalLB


def test_metallb_speaks_layer_two_and_no_bgp() -> None:
    """The chart turns FRR on since 0.16: a DaemonSet that layer 2 has no use for."""
    values = load_balancers.values()

    assert (values["frrk8s"], values["speaker"]) == (
        {"enabled": False},
        {"frr": {"enabled": False}, "tolerateMaster": True, "tolerations": [{"operator": "Exists"}]},
    )


def test_the_pool_is_the_sites_and_is_announced(graph: Graph) -> None:
    assert custom(graph, "IPAddressPool", "campus")["spec"]["addresses"] == ["10.9.0.50-10.9.0.60"]
    assert custom(graph, "L2Advertisement", "campus")["spec"] == {"ipAddressPools": ["campus"]}


@pytest.mark.parametrize(
    ("release", "later"),
    [("metallb", "ipaddresspool-campus"), ("kueue", "clusterqueue-campus"), ("ingress-nginx", "jupyterhub")],
)
def test_what_a_webhook_checks_comes_after_it_answers(graph: Graph, release: str, later: str) -> None:
    """MetalLB's controller is ready before its webhook listens: one first `up` in four failed on the pool."""
    [checked] = [one for one in graph.by_urn.values() if one.name == later and one.request.custom]

    assert graph.one(COMMAND_TYPE, f"{release}-webhook").urn in graph.before(checked)


# Kueue


def test_kueue_answers_while_one_of_its_nodes_is_drained() -> None:
    """While it is silent, nobody may create a pod in a namespace with a queue."""
    manager = queues.values(site())["controllerManager"]

    assert manager["replicas"] == 2
    assert manager["podDisruptionBudget"] == {"enabled": True, "minAvailable": 1}
    assert [one["whenUnsatisfiable"] for one in manager["topologySpreadConstraints"]] == ["ScheduleAnyway"]


def test_kueue_leaves_the_platforms_namespaces_alone() -> None:
    text = queues.values(site())["managerConfig"]["controllerManagerConfigYaml"]
    [rule] = yaml.safe_load(text)["managedJobsNamespaceSelector"]["matchExpressions"]

    assert (rule["key"], rule["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
    assert rule["values"] == list(unqueued_namespaces())


def test_jobs_whose_images_run_as_root_have_a_queue_too(graph: Graph) -> None:
    local = [one.inputs["metadata"] for one in graph.by_urn.values() if one.type.endswith(":LocalQueue")]
    levels = {name.name: name.level for record in LAYERS for name in record.namespaces}

    assert {one["namespace"] for one in local} == {"default", queues.BATCH, "jupyterhub"}
    assert levels[queues.BATCH] == "baseline"


# cert-manager


def test_definitions_of_certificates_outlive_the_release() -> None:
    """Without `keep` every certificate would go with them."""
    assert certificates.values(site())["crds"] == {"enabled": True, "keep": True}


@pytest.mark.parametrize("issuer", ["internal", "files"])
def test_an_internal_ca_signs_itself_and_then_everything_else(issuer: str) -> None:
    """With `files` it signs what the wildcard certificate does not cover; without a CA the issuer is never Ready."""
    graph = layers_graph(site({"platform": {"certificates": {"issuer": issuer, "certificate-file": "wildcard.pem"}}}))

    assert custom(graph, "ClusterIssuer", "campus")["spec"] == {"ca": {"secretName": "campus-ca"}}
    root = custom(graph, "Certificate", "campus-ca")["spec"]
    assert (root["isCA"], root["secretName"]) == (True, "campus-ca")
    assert root["issuerRef"]["name"] == custom(graph, "ClusterIssuer", "self-signed")["metadata"]["name"]


def test_an_acme_server_needs_no_root_of_ours() -> None:
    server = "https://acme.campus.example/directory"
    acme = {"issuer": "acme", "acme-email": "it@campus.example", "acme-server": server}
    graph = layers_graph(site({"platform": {"certificates": acme}}))
    spec = custom(graph, "ClusterIssuer", "campus")["spec"]["acme"]

    assert spec["server"] == server
    assert spec["email"] == "it@campus.example"
    assert spec["solvers"] == [{"http01": {"ingress": {"ingressClassName": "nginx"}}}]
    assert [one.name for one in graph.by_urn.values() if one.name.startswith("certificate-")] == []


def test_the_issuer_is_there_only_when_it_is_ready(graph: Graph) -> None:
    """A webhook that does not answer yet refuses the first certificates (cert-manager#2908)."""
    annotations = custom(graph, "ClusterIssuer", "campus")["metadata"]["annotations"]

    assert annotations == {"pulumi.com/waitFor": "condition=Ready"}


# ingress-nginx


def test_the_way_in_keeps_the_clients_address() -> None:
    """R24: `Local` needs a controller on every worker, hence the DaemonSet."""
    controller = ingress.values(site())["controller"]

    assert (controller["kind"], controller["service"]["externalTrafficPolicy"]) == ("DaemonSet", "Local")
    assert controller["service"]["annotations"] == {"metallb.io/loadBalancerIPs": "10.9.0.50"}


def test_the_way_in_is_where_the_site_says() -> None:
    assert ingress.ingress_address(site({"network": {"ingress-address": "10.9.0.55"}})) == "10.9.0.55"


def test_nobody_reads_secrets_through_a_snippet() -> None:
    """CVE-2021-25742."""
    assert ingress.values(site())["controller"]["allowSnippetAnnotations"] is False


# Storage


def ceph(campus: Site) -> dict[str, Any]:
    return storage.cluster_values(campus, campus.machines)


def test_ceph_gets_our_disks_and_never_every_device() -> None:
    """`useAllDevices` would wipe scratch disks."""
    disks = ceph(site())["cephClusterSpec"]["storage"]

    assert (disks["useAllNodes"], disks["useAllDevices"]) == (False, False)
    assert [node["name"] for node in disks["nodes"]] == ["gpu-1", "gpu-2"]
    assert {tuple(device["name"] for device in node["devices"]) for node in disks["nodes"]} == {
        ("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_ceph",)
    }


def test_the_disk_that_ceph_looks_for_is_the_one_that_the_machine_gets() -> None:
    from components.hosts.vm import vm_disks  # noqa: PLC0415 - two layers meet only here

    serials = [disk.serial for disk in vm_disks(site().machines[3], "local-lvm", "image")]

    assert storage.CEPH_DISK.rpartition("_")[2] in serials


@pytest.mark.parametrize(("replicas", "safe"), [(1, False), (2, False), (3, True)])
def test_few_copies_are_said_to_be_meant(replicas: int, safe: bool) -> None:
    """Rook refuses fewer than three otherwise."""
    pool = {"replicas": replicas, "accept-data-loss": True}
    workers = SMALL["nodes"][1] | {"name": "gpu-[1-3]", "host": "pve[1-3]", "address": "10.9.0.[41-43]"}
    nodes = [SMALL["nodes"][0], workers]
    [block] = ceph(site({"nodes": nodes, "platform": {"storage": {"ceph": {"pool": pool}}}}))["cephBlockPools"]

    assert block["spec"]["replicated"] == {"size": replicas, "requireSafeReplicaSize": safe}


@pytest.mark.parametrize("pool", ["block", "metadata", "data"])
def test_two_copies_never_stand_on_one_proxmox_host(pool: str) -> None:
    """`host` is CRUSH's word for a Kubernetes node, and two of them may be one machine."""
    values = ceph(site())
    filesystem = values["cephFileSystems"][0]["spec"]
    specs = {
        "block": values["cephBlockPools"][0]["spec"],
        "metadata": filesystem["metadataPool"],
        "data": filesystem["dataPools"][0],
    }

    assert specs[pool]["failureDomain"] == "chassis"
    assert all(node_labels(node)["topology.rook.io/chassis"] == node.host for node in site().machines)


def test_two_nodes_of_one_host_hold_one_copy() -> None:
    both = SMALL["nodes"][1] | {"host": "pve1"}
    [block] = ceph(site({"nodes": [SMALL["nodes"][0], both]}))["cephBlockPools"]

    assert block["spec"]["replicated"]["size"] == 1


def test_monitors_are_spread_over_proxmox_hosts() -> None:
    """With two on one host, that host takes Ceph's quorum with it."""
    [spread] = ceph(site())["cephClusterSpec"]["placement"]["mon"]["topologySpreadConstraints"]

    assert (spread["topologyKey"], spread["maxSkew"]) == ("topology.rook.io/chassis", 1)
    assert spread["labelSelector"] == {"matchLabels": {"app": "rook-ceph-mon"}}


def test_ceph_asks_for_what_the_profiles_leave_to_it() -> None:
    asked = ceph(site())["cephClusterSpec"]["resources"]

    assert asked["osd"]["requests"] == {"cpu": "1000m", "memory": "4096Mi"}
    assert asked.keys() == CEPH.keys()


def test_an_early_stage_keeps_as_many_copies_as_it_has_hosts() -> None:
    """Each copy wants a host of its own: with two hosts, three copies would never be complete."""
    [block] = ceph(site())["cephBlockPools"]

    assert site().platform.storage.ceph.pool.replicas == 3
    assert block["spec"]["replicated"] == {"size": 2, "requireSafeReplicaSize": False}


@pytest.mark.parametrize(("pools", "driver"), [("cephBlockPools", "rbd"), ("cephFileSystems", "cephfs")])
def test_a_storage_class_names_the_secrets_of_its_driver(pools: str, driver: str) -> None:
    """Our list replaces the chart's example with its parameters; without them no volume is ever made."""
    [pool] = ceph(site())[pools]
    parameters = pool["storageClass"]["parameters"]

    for step, user in [
        ("provisioner", "provisioner"),
        ("controller-expand", "provisioner"),
        ("controller-publish", "provisioner"),
        ("node-stage", "node"),
    ]:
        assert parameters[f"csi.storage.k8s.io/{step}-secret-name"] == f"rook-csi-{driver}-{user}"
        assert parameters[f"csi.storage.k8s.io/{step}-secret-namespace"] == "rook-ceph"


def test_there_is_one_default_class() -> None:
    values = ceph(site())
    classes = [pool["storageClass"] for pool in [*values["cephBlockPools"], *values["cephFileSystems"]]]

    assert [one["name"] for one in classes if one["isDefault"]] == ["ceph-block"]


@pytest.mark.parametrize("nfs", [NFS, {}], ids=["campus NFS", "nothing"])
@pytest.mark.parametrize(("ceph_is_on", "expected"), [(True, "ceph-block"), (False, "local-path")])
def test_metrics_are_never_stored_on_nfs(nfs: Settings, *, ceph_is_on: bool, expected: str) -> None:
    """Prometheus does not support it: its files are mapped into memory and locked."""
    shares = nfs.get("platform", {}).get("storage", {})
    campus = site({"platform": {"storage": {**shares, "ceph": {"enabled": ceph_is_on}}}})
    values = monitoring.values(campus, campus.machines)
    volumes = (
        values["prometheus"]["prometheusSpec"]["storageSpec"],
        values["alertmanager"]["alertmanagerSpec"]["storage"],
    )

    assert [one["volumeClaimTemplate"]["spec"]["storageClassName"] for one in volumes] == [expected, expected]


def test_ceph_without_a_shared_file_system_has_none() -> None:
    assert ceph(site({"platform": {"storage": {"ceph": {"filesystem": False}}}}))["cephFileSystems"] == []


def tolerated(campus: Site, daemon: str) -> set[str]:
    tolerations = ceph(campus)["cephClusterSpec"]["placement"][daemon]["tolerations"]
    assert all(one["operator"] == "Exists" for one in tolerations)
    return {one["key"] for one in tolerations}


def test_monitors_may_stand_on_servers() -> None:
    """Two workers cannot hold three monitors."""
    assert "node-role.kubernetes.io/control-plane" in tolerated(site(), "mon")


@pytest.mark.parametrize("daemon", ["all", "mon", "osd", "prepareosd"])
def test_cephs_daemons_stand_on_storage_machines(daemon: str) -> None:
    """Their taint keeps everybody else away."""
    assert "node-role.kubernetes.io/storage" in tolerated(site(), daemon)
    [filesystem] = ceph(site())["cephFileSystems"]
    [toleration] = filesystem["spec"]["metadataServer"]["placement"]["tolerations"]
    assert toleration["key"] == "node-role.kubernetes.io/storage"


def test_osds_go_where_their_disks_are_whatever_else_is_kept_away() -> None:
    nodes = [SMALL["nodes"][0], SMALL["nodes"][1] | {"taints": ["nvidia.com/gpu=true:NoSchedule", "lab:NoExecute"]}]

    assert tolerated(site({"nodes": nodes}), "osd") == {"nvidia.com/gpu", "lab", "node-role.kubernetes.io/storage"}
    assert tolerated(site({"nodes": nodes}), "mon") == tolerated(site(), "mon"), "monitors keep off them"


def test_a_filesystem_mounts_where_ceph_speaks_only_its_second_protocol() -> None:
    spec = ceph(site())["cephClusterSpec"]

    assert spec["network"]["connections"]["requireMsgr2"]
    assert spec["csi"]["cephfs"]["kernelMountOptions"] == "ms_mode=prefer-crc"


def test_rook_never_loses_its_definitions() -> None:
    """Off, they go, and the cluster with them."""
    assert storage.operator_values(site())["crds"] == {"enabled": True}


def test_drivers_carry_the_operators_namespace_in_their_names() -> None:
    """Rook looks for them under it; under another name nothing is ever mounted."""
    assert enabled_drivers(site()) == {"rbd": "rook-ceph.rbd.csi.ceph.com", "cephfs": "rook-ceph.cephfs.csi.ceph.com"}


def test_without_a_filesystem_its_driver_is_not_there() -> None:
    """K3.17b: a privileged pod on every node that nobody needs."""
    assert enabled_drivers(site({"platform": {"storage": {"ceph": {"filesystem": False}}}})).keys() == {"rbd"}


def enabled_drivers(campus: Site) -> dict[str, str]:
    drivers = storage.driver_values(campus)["drivers"]
    return {name: one["name"] for name, one in drivers.items() if one["enabled"]}


def test_the_campus_nfs_is_a_class_whose_volumes_stay() -> None:
    [one] = storage.nfs_values(site(NFS))["storageClasses"]

    assert one["parameters"] == {"server": "nfs.campus.example", "share": "/homes"}
    assert one["reclaimPolicy"] == "Retain", "homes are people's, whatever becomes of the claim"


def test_values_for_an_export_that_is_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="no NFS export"):
        storage.nfs_values(site())


# GPU Operator


def operator(*cards: Settings) -> dict[str, Any]:
    campus = with_cards(*cards)
    return gpus.values(campus, campus.machines)


def test_containerd_is_left_to_k3s() -> None:
    """With NRI the operator touches neither its configuration nor RuntimeClasses (gpu-operator#473)."""
    assert operator({})["cdi"] == {"enabled": True, "nriPluginEnabled": True}
    assert "env" not in operator({})["toolkit"]


def test_cards_that_enter_mig_mode_only_with_a_reboot_get_one() -> None:
    """Under passthrough an A100 cannot be reset (gpu-operator#1606)."""
    assert operator(MIG7)["migManager"]["env"] == [{"name": "WITH_REBOOT", "value": "true"}]


@pytest.mark.parametrize("cards", [{}, {"model": "h100-80gb", "sharing": "mig", "layout": {"1g.10gb": 7}}])
def test_no_other_card_reboots_a_node(cards: Settings) -> None:
    assert operator(cards)["migManager"]["env"] == []


def test_configurations_have_names_that_the_operator_finds() -> None:
    """The chart fails to render with `create` and an empty name or no data (26.7)."""
    values = operator(MIG7)
    for config in (values["migManager"]["config"], values["devicePlugin"]["config"]):
        assert config["create"]
        assert config["name"]
        assert config["data"]
    assert values["devicePlugin"]["config"]["default"] in values["devicePlugin"]["config"]["data"]
    assert (
        values["migManager"]["config"]["default"]
        in yaml.safe_load(values["migManager"]["config"]["data"]["config.yaml"])["mig-configs"]
    )


def test_every_daemon_of_the_operator_stands_on_a_node_whatever_its_taint() -> None:
    """Without the driver, or without the worker that finds the card, the node has no GPUs, and `up` ends well."""
    values = operator({})

    assert values["daemonsets"]["tolerations"] == [{"operator": "Exists"}]
    assert values["node-feature-discovery"]["worker"]["tolerations"] == [{"operator": "Exists"}]


def test_slices_have_their_own_names() -> None:
    """`single` would call them whole cards."""
    assert operator(MIG7)["mig"] == {"strategy": "mixed"}


def test_the_driver_is_the_charts_unless_the_site_names_one() -> None:
    assert "version" not in operator({})["driver"]
    pinned = with_cards({}, changes={"platform": {"gpu-operator": {"driver": "595.91.07"}}})
    assert gpus.values(pinned, pinned.machines)["driver"]["version"] == "595.91.07"


def test_a_node_is_reported_its_sharing_after_the_driver_is_there(graph: Graph) -> None:
    """A MIG label that is there first makes the plugin hand out whole cards (gpu-operator#2670)."""
    patch = graph.one("kubernetes:core/v1:NodePatch", "gpu-1-gpu-sharing")
    [policy] = [one for one in graph.by_urn.values() if one.name == "cluster-policy-ready"]

    assert policy.urn in graph.before(patch)
    assert policy.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.status.state}=ready"
    assert patch.inputs["metadata"]["labels"] == {"nvidia.com/mig.config": "all-7x1g.5gb"}
    wait = patch.inputs["metadata"]["annotations"]["pulumi.com/waitFor"]
    assert wait == 'jsonpath={.status.allocatable["nvidia.com/mig-1g.5gb"]}=7', "the slices themselves are waited for"


def test_a_node_with_whole_cards_is_left_alone() -> None:
    assert layers_graph(with_cards({})).of_type("kubernetes:core/v1:NodePatch") == []


# Kueue


def quotas(campus: Site) -> dict[str, dict[str, str]]:
    [group] = queues.cluster_queue_spec(campus, campus.machines)["resourceGroups"]
    return {
        flavor["name"]: {one["name"]: one["nominalQuota"] for one in flavor["resources"]} for flavor in group["flavors"]
    }


def test_a_quota_is_what_the_nodes_have_left_for_people() -> None:
    """Less would leave cards idle while somebody waits; more would promise what daemons and the platform hold."""
    campus = with_cards(MIG7, {})
    left = total(left_for_people(campus, node, campus.machines) for node in campus.machines[3:])

    assert quotas(campus) == {
        "a100-40gb": {
            "cpu": f"{left.cpu}m",
            "memory": f"{left.memory}Mi",
            "nvidia.com/gpu": "2",
            "nvidia.com/mig-1g.5gb": "14",
        }
    }


def test_two_models_of_one_family_are_two_flavors_with_two_labels() -> None:
    """A job for 80 GB must not start on a card with 40."""
    cards = [SMALL["hosts"][0]["gpus"][0] | {"model": f"a100-{size}gb"} for size in (40, 80)]
    hosts = [SMALL["hosts"][0] | {"name": f"pve{n}", "gpus": [card]} for n, card in enumerate(cards, start=1)]
    hosts.append(SMALL["hosts"][0] | {"name": "pve3"})
    groups = queues.nodes_by_flavor(site({"hosts": hosts}).machines)

    assert {flavor: queues.flavor_spec(flavor, nodes)["nodeLabels"] for flavor, nodes in groups.items()} == {
        "a100-40gb": {"lyceum.io/gpu-model": "a100-40gb"},
        "a100-80gb": {"lyceum.io/gpu-model": "a100-80gb"},
    }


def tainted_flavors() -> dict[str, dict[str, Any]]:
    """Flavors of a site with workers of three kinds: GPUs behind a taint, none, and none behind a taint."""
    gpu = SMALL["nodes"][1] | {"taints": ["nvidia.com/gpu=true:NoSchedule", "slow=yes:PreferNoSchedule"]}
    plain = {"role": "worker", "host": "pve3", "shape": "server", "gpus": []}
    cpu = plain | {"name": "cpu-1", "address": "10.9.0.70"}
    own = plain | {"name": "cpu-2", "address": "10.9.0.71", "taints": ["dedicated=vision:NoSchedule"]}
    groups = queues.nodes_by_flavor(site({"nodes": [SMALL["nodes"][0], gpu, cpu, own]}).machines)
    return {flavor: queues.flavor_spec(flavor, nodes) for flavor, nodes in groups.items()}


def test_a_job_that_the_queue_admits_to_tainted_nodes_may_start_there() -> None:
    """Admitted without a toleration it would pend for ever."""
    assert tainted_flavors()["a100-40gb"] == {
        "nodeLabels": {"lyceum.io/gpu-model": "a100-40gb"},
        "nodeTaints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }


def test_a_job_without_a_gpu_is_sent_to_nodes_without_one() -> None:
    assert tainted_flavors()["cpu"] == {"nodeLabels": {"lyceum.io/gpu-model": "none"}}


def test_every_node_of_a_flavor_has_the_flavors_labels() -> None:
    groups = queues.nodes_by_flavor(site({"nodes": [*SMALL["nodes"]]}).machines)
    for flavor, nodes in groups.items():
        wanted = queues.flavor_spec(flavor, nodes)["nodeLabels"].items()
        assert all(wanted <= node_labels(node).items() for node in nodes)


def test_a_worker_without_a_gpu_behind_a_taint_is_in_no_queue() -> None:
    assert "dedicated" not in str(tainted_flavors())


def test_machines_without_a_card_are_asked_first() -> None:
    """Jobs that need no card must not fill the machines that have one."""
    plain = {"name": "cpu-1", "role": "worker", "host": "pve3", "shape": "server", "address": "10.9.0.70", "gpus": []}
    found = quotas(site({"nodes": [*SMALL["nodes"], plain]}))

    assert list(found) == ["cpu", "a100-40gb"]
    assert found["cpu"]["nvidia.com/gpu"] == "0"


def test_servers_are_no_place_for_jobs() -> None:
    assert queues.nodes_by_flavor(site().machines[:3]) == {}


def test_every_flavor_covers_every_resource(graph: Graph) -> None:
    """Kueue refuses a queue whose flavors and resources do not match."""
    [group] = custom(graph, "ClusterQueue", "campus")["spec"]["resourceGroups"]

    for flavor in group["flavors"]:
        assert [one["name"] for one in flavor["resources"]] == group["coveredResources"]


def test_each_flavor_of_the_queue_exists(graph: Graph) -> None:
    [group] = custom(graph, "ClusterQueue", "campus")["spec"]["resourceGroups"]
    for flavor in group["flavors"]:
        labels = custom(graph, "ResourceFlavor", flavor["name"])["spec"]["nodeLabels"]
        assert labels == {"lyceum.io/gpu-model": flavor["name"]}


def test_a_flavor_outlives_the_queue_that_names_it(graph: Graph) -> None:
    """Deleted first, it would wait for the queue for ever (finalizer `resource-in-use`)."""
    [queue] = [one for one in graph.by_urn.values() if one.name == "clusterqueue-campus"]
    flavors = [one.urn for one in graph.by_urn.values() if one.name.startswith("resourceflavor-")]

    assert flavors
    assert [urn for urn in flavors if urn not in graph.before(queue)] == []


def kueue() -> dict[str, Any]:
    text = queues.values(site())["managerConfig"]["controllerManagerConfigYaml"]
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


def test_the_platforms_own_pods_never_wait_in_a_queue(graph: Graph) -> None:
    """A GPU driver that waits for a GPU waits for ever."""
    [rule] = kueue()["managedJobsNamespaceSelector"]["matchExpressions"]
    made = {one.inputs["metadata"]["name"] for one in graph.of_type("kubernetes:core/v1:Namespace")}

    assert rule["operator"] == "NotIn"
    platform = {"rook-ceph", "gpu-operator", "metallb-system", "cert-manager", "monitoring", "kueue-system"}
    assert platform <= made & set(rule["values"])


def test_a_job_whose_worker_died_gives_its_gpus_back() -> None:
    """Fault N2: Kueue knows no such limit unless it is told, and the quota would be held until somebody notices."""
    assert kueue()["waitForPodsReady"]["recoveryTimeout"] == "10m"


# Monitoring


def prometheus() -> dict[str, Any]:
    return monitoring.values(site(), site().machines)


def test_k3s_is_one_process_and_is_counted_once() -> None:
    """k3s#3619: watched one by one, every series would be there three times."""
    assert {
        part: prometheus()[part]["enabled"] for part in ("kubeControllerManager", "kubeScheduler", "kubeProxy")
    } == {
        "kubeControllerManager": False,
        "kubeScheduler": False,
        "kubeProxy": False,
    }


def test_a_node_is_measured_whatever_its_taints_are() -> None:
    """K3.11: the chart's own toleration leaves out `NoExecute`."""
    assert prometheus()["prometheus-node-exporter"]["tolerations"] == [{"operator": "Exists"}]


def test_etcd_is_watched_on_every_server() -> None:
    assert prometheus()["kubeEtcd"]["endpoints"] == ["10.9.0.31", "10.9.0.32", "10.9.0.33"]


def test_every_monitor_in_the_cluster_is_seen() -> None:
    """By default only those of the chart's own release are."""
    spec = prometheus()["prometheus"]["prometheusSpec"]

    assert {key: value for key, value in spec.items() if key.endswith("NilUsesHelmValues")} == {
        f"{kind}SelectorNilUsesHelmValues": False
        for kind in ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    }


def test_kinds_come_from_their_own_release() -> None:
    """In this chart they would never be upgraded."""
    assert prometheus()["crds"] == {"enabled": False}


def test_metrics_are_kept_as_long_and_as_large_as_the_site_says() -> None:
    campus = site({"platform": {"monitoring": {"retention": "30d", "storage": "1 TiB", "scrape-interval": "15s"}}})
    spec = monitoring.values(campus, campus.machines)["prometheus"]["prometheusSpec"]

    assert (spec["retention"], spec["scrapeInterval"]) == ("30d", "15s")
    claim = spec["storageSpec"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("ceph-block", "1Ti")


def test_grafana_reads_its_password_from_a_secret(graph: Graph) -> None:
    """A Release keeps its values in plain sight."""
    secret = graph.one("kubernetes:core/v1:Secret", "grafana-login").inputs
    admin = graph.one(RELEASE, "kube-prometheus-stack").inputs["values"]["grafana"]["admin"]

    assert secret["stringData"][admin["passwordKey"]] == GRAFANA
    assert secret["metadata"]["name"] == admin["existingSecret"]
    assert graph.leaks(GRAFANA, HUB) == []


@pytest.mark.parametrize("release", ["cert-manager", "ingress-nginx", "rook-ceph", "gpu-operator", "kueue"])
def test_nobody_asks_to_be_watched_where_nobody_watches(release: str) -> None:
    """Without the kind the chart fails, or leaves it out without a word."""
    text = yaml.safe_dump(
        layers_graph(site({"platform": {"monitoring": {"enabled": False}}})).one(RELEASE, release).inputs["values"]
    ).lower()

    watched = ("servicemonitor:\n    enabled: true", "monitoring:\n  enabled: true", "enableprometheus: true")
    assert [mark for mark in watched if mark in text] == []
