"""What the real charts of Ceph make of our values, as their facts say it."""

from lab.charts.facts import Object, load_facts


def drivers() -> dict[str, Object]:
    """Name of each CSI driver -> its spec, which the real operator acts on."""
    found = load_facts()["ceph-csi-drivers"].of_kind("Driver")
    return {item["metadata"]["name"]: item["spec"] for item in found}


def test_there_are_drivers_only_for_what_the_storage_classes_use() -> None:
    classes = load_facts()["rook-ceph-cluster"].of_kind("StorageClass")

    assert set(drivers()) == {item["provisioner"] for item in classes}, (
        "each other one is a privileged DaemonSet on every node whose account reads every Secret"
    )


def test_a_pod_has_volumes_on_whatever_node_it_may_run() -> None:
    """A notebook with a GPU runs on a node that is tainted for GPUs."""
    for name, spec in drivers().items():
        assert spec["nodePlugin"].get("tolerations") == [{"operator": "Exists"}], name


def test_volumes_are_provisioned_from_storage_machines_where_only_those_are_up() -> None:
    storage = [{"key": "node-role.kubernetes.io/storage", "operator": "Exists"}]
    for name, spec in drivers().items():
        assert spec["controllerPlugin"].get("tolerations") == storage, name


def test_nothing_comes_that_the_site_switched_off() -> None:
    cluster = load_facts()["rook-ceph-cluster"]

    assert not cluster.of_kind("CephObjectStore"), "its pools cannot be placed on two hosts"
