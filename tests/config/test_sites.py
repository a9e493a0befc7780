"""The sites that come with Lyceum, held against what their people asked for."""

import pytest

from components.cluster.k3s_config import node_taints
from config.base import format_size
from config.load import load_site
from config.node_labels import node_labels
from config.paths import SITES
from config.site import STAGES
from config.validate import validate_file
from tests.support.program import program

NAMES = sorted(path.stem for path in SITES.glob("*.yaml"))


def test_every_campus_has_its_site() -> None:
    assert NAMES == ["a100-host", "esports-night", "forty-workstations", "hpc-course", "lab"]


@pytest.mark.parametrize("name", NAMES)
def test_a_site_has_no_mistake(name: str) -> None:
    assert validate_file(SITES / f"{name}.yaml").findings == []


@pytest.mark.parametrize("name", NAMES)
def test_a_later_stage_only_adds(name: str) -> None:
    """Growing is changing one word; nothing that exists is touched."""
    site = load_site(name)
    earlier: set[str] = set()
    for stage in STAGES:
        now = {node.name for node in site.in_service(stage)}
        assert earlier <= now, f"{stage} takes away {earlier - now}"
        earlier = now


def test_the_a100_host_is_the_table_to_the_mac_address() -> None:
    """R21 and the table of Site C: name, vCPU, RAM, disks, GPUs, address, MAC."""
    site = load_site("a100-host")
    table = [
        (
            node.name,
            node.shape.cores,
            format_size(node.shape.memory),
            format_size(node.shape.disk) if node.in_cluster else None,  # the table leaves the maintenance VM's open
            node.shape.scratch and format_size(node.shape.scratch),
            len(node.gpus),
            str(node.address),
            node.mac,
        )
        for node in site.machines
    ]
    gpu = (48, "128 GiB", "500 GiB", "1 TiB", 2)
    assert table == [
        ("k3s-cp1", 4, "16 GiB", "100 GiB", None, 0, "10.21.0.35", "00:16:3e:63:79:26"),
        ("k3s-cp2", 4, "16 GiB", "100 GiB", None, 0, "10.21.0.36", "00:16:3e:63:79:27"),
        ("k3s-cp3", 4, "16 GiB", "100 GiB", None, 0, "10.21.0.37", "00:16:3e:63:79:28"),
        ("k3s-wk-gpu1", *gpu, "10.21.0.38", "00:16:3e:63:79:29"),
        ("k3s-wk-gpu2", *gpu, "10.21.0.43", "00:16:3e:63:79:2e"),
        ("k3s-wk-gpu3", *gpu, "10.21.0.40", "00:16:3e:63:79:2b"),
        ("k3s-wk-gpu4", *gpu, "10.21.0.41", "00:16:3e:63:79:2c"),
        ("k3s-maint", 4, "8 GiB", None, None, 0, "10.21.0.42", "00:16:3e:63:79:2f"),
    ]


def test_the_a100_host_has_the_network_of_its_campus() -> None:
    """R21, R24."""
    network = load_site("a100-host").network
    assert (network.vlan, str(network.cidr), str(network.gateway)) == (633, "10.21.0.0/16", "10.21.1.17")
    assert [str(server) for server in network.dns] == ["193.171.87.249", "193.171.87.250"]
    assert (str(network.pods), str(network.services)) == ("10.42.0.0/16", "10.43.0.0/16")
    assert str(network.load_balancers) == "10.21.0.50-10.21.0.60"


def test_the_a100_host_labels_and_taints_as_it_asked() -> None:
    """R23: servers are tainted, workers are labelled and not tainted."""
    nodes = {node.name: node for node in load_site("a100-host").machines}
    assert node_taints(nodes["k3s-cp1"]) == ["node-role.kubernetes.io/control-plane=true:NoSchedule"]
    assert node_taints(nodes["k3s-wk-gpu2"]) == []
    asked = {"accelerator": "nvidia", "gpu-model": "a100", "scratch": "nvme"}
    assert asked.items() <= node_labels(nodes["k3s-wk-gpu2"]).items()


def test_the_a100_host_shares_only_its_first_worker_by_mig() -> None:
    """R27."""
    nodes = {
        node.name: {str(gpu.sharing) for gpu in node.gpus} for node in load_site("a100-host").machines if node.gpus
    }
    whole = {f"k3s-wk-gpu{n}": {"exclusive"} for n in (2, 3, 4)}
    assert nodes == {"k3s-wk-gpu1": {"mig"}} | whole


def test_the_a100_host_offers_the_profiles_of_its_users() -> None:
    """R26: name, vCPU, memory, kind and number of GPUs, and who sees it."""
    hub = load_site("a100-host").workspaces.jupyterhub
    offered = [(p.name, p.cores, format_size(p.memory), p.gpu and (p.gpu, p.gpus), p.groups) for p in hub.profiles]
    users = ("cpsHPCAccess",)
    assert offered == [
        ("cpu", 2, "2 GiB", None, ()),
        ("gpu-1-pytorch", 16, "64 GiB", ("whole", 1), users),
        ("gpu-1-tensorflow", 16, "64 GiB", ("whole", 1), users),
        ("gpu-2-pytorch", 32, "128 GiB", ("whole", 2), users),
        ("gpu-2-tensorflow", 32, "128 GiB", ("whole", 2), users),
        ("mig-1g-5gb", 6, "24 GiB", ("1g.5gb", 1), users),
        ("mig-2g-10gb", 10, "40 GiB", ("2g.10gb", 1), users),
    ]
    assert hub.admin_groups == ("jupyter_admin",)
    assert hub.test_host, "R25: a second hub for tests"


def test_the_night_site_never_runs_player_and_cluster_at_once() -> None:
    """R10: the machines' owners come first."""
    site = load_site("esports-night")
    shifts = {node.host: set[str]() for node in site.machines if node.gpus}
    for node in site.machines:
        if node.gpus:
            shifts[node.host].add(node.shift)
    assert all(shift == {"owners", "cluster"} for shift in shifts.values())


def test_the_course_keeps_its_gpus_for_gpu_work() -> None:
    """R41; a taint is the site's choice, and Site C chose otherwise."""
    site = load_site("hpc-course")
    assert all("nvidia.com/gpu=true:NoSchedule" in node.taints for node in site.machines if node.gpus)
    assert len({gpu.model for node in site.machines for gpu in node.gpus}) == 3, "R37: mixed models"


def test_the_forty_workstations_are_forty() -> None:
    """R1, R8."""
    site = load_site("forty-workstations")
    assert sum(node.role == "worker" for node in site.machines) == 40
    assert sum(node.role == "desktop" for node in site.machines) == 40


def test_the_preview_of_the_a100_host_has_exactly_the_machines_of_the_table() -> None:
    """What people are shown before `up`, without any secret: VMs, their sizes, cards, network."""
    graph = program("a100-host", "all", preview=True, secrets=False)
    shown = {
        vm.inputs["name"]: (
            vm.inputs["cpu"]["cores"],
            vm.inputs["memory"]["dedicated"] // 1024,
            [disk["size"] for disk in vm.inputs["disks"]],
            len(vm.inputs.get("hostpcis", [])),
            vm.inputs["initialization"]["ipConfigs"][0]["ipv4"],
            vm.inputs["networkDevices"][0]["macAddress"].lower(),
            vm.inputs["networkDevices"][0]["vlanId"],
        )
        for vm in graph.of_type("proxmoxve:index/vmLegacy:VmLegacy")
    }
    worker = (48, 128, [500, 1024], 2)

    def net(last: int) -> dict[str, str]:
        return {"address": f"10.21.0.{last}/16", "gateway": "10.21.1.17"}

    assert shown == {
        "k3s-cp1": (4, 16, [100], 0, net(35), "00:16:3e:63:79:26", 633),
        "k3s-cp2": (4, 16, [100], 0, net(36), "00:16:3e:63:79:27", 633),
        "k3s-cp3": (4, 16, [100], 0, net(37), "00:16:3e:63:79:28", 633),
        "k3s-wk-gpu1": (*worker, net(38), "00:16:3e:63:79:29", 633),
        "k3s-wk-gpu2": (*worker, net(43), "00:16:3e:63:79:2e", 633),
        "k3s-wk-gpu3": (*worker, net(40), "00:16:3e:63:79:2b", 633),
        "k3s-wk-gpu4": (*worker, net(41), "00:16:3e:63:79:2c", 633),
        "k3s-maint": (4, 8, [50], 0, net(42), "00:16:3e:63:79:2f", 633),
    }
