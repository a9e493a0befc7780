"""What is left for people on a node is a sum, and whatever is offered fits into it."""

from functools import cache

import pytest

from components.workspaces.profiles import effective_profiles
from config.allocatable import Amount, allocatable, capacity, kube_reserved, system_reserved, total
from config.capacity import (
    fits_on_worker,
    homeless_pod,
    left_for_people,
    platform_homes,
    platform_share,
    room_on_node,
    takes_people,
)
from config.hosts import Node, Role
from config.load import load_site
from config.requests import OSD, daemon_requests, platform_requests
from config.site import STAGES, Site
from tests.support.program import ALL_SITES
from tests.support.sites import SMALL, site

every_stage = pytest.mark.parametrize(
    ("name", "stage"), [(name, stage) for name in ALL_SITES for stage in STAGES], ids=str
)


@cache
def campus_of(name: str) -> Site:
    return load_site(name)


def worker(campus: Site) -> Node:
    return next(node for node in campus.machines if node.role is Role.WORKER)


def test_what_is_left_is_the_machine_less_everything_that_others_hold() -> None:
    campus = site()
    node = worker(campus)
    daemons = dict(daemon_requests(campus, node))
    taken = [
        kube_reserved(node),
        system_reserved(node),
        Amount(0, 100),
        *daemons.values(),
        platform_share(campus, node, campus.machines),
    ]

    assert daemons["rook-ceph-osd"] == OSD == Amount(1250, 4306)
    assert daemons["ingress-nginx-controller"] == Amount(100, 90)
    assert left_for_people(campus, node, campus.machines) == capacity(node) - total(taken)


def test_a_virtual_machine_of_128_gib_offers_less_than_126() -> None:
    """Linux keeps 64 bytes of each page, the kubelet 100 MiB: what was proven to be the most."""
    node = next(node for node in load_site("a100-host").machines if node.gpus)

    assert node.shape.memory == 128 * 1024
    assert allocatable(node).memory < 125.9 * 1024


def test_the_share_of_the_platform_is_one_pod_more_than_a_nodes_part() -> None:
    campus = site()
    pods = [request for _, request in platform_requests(campus)]
    share = platform_share(campus, worker(campus), campus.machines)

    assert len(platform_homes(campus.machines)) == 2
    assert share.cpu == -(-total(pods).cpu // 2) + max(pod.cpu for pod in pods)
    assert share.memory == -(-total(pods).memory // 2) + max(pod.memory for pod in pods)


def test_a_larger_node_holds_more_of_the_platform() -> None:
    small = {"name": "cpu-1", "role": "worker", "host": "pve3", "shape": "server", "address": "10.9.0.70", "gpus": []}
    campus = site({"nodes": [*SMALL["nodes"], small]})
    large, little = campus.machines[3], campus.machines[-1]

    assert large.shape.cores > little.shape.cores
    assert platform_share(campus, large, campus.machines).cpu > platform_share(campus, little, campus.machines).cpu


def test_a_node_with_a_taint_holds_nothing_of_the_platform_and_no_ingress() -> None:
    tainted = SMALL["nodes"][1] | {"taints": ["nvidia.com/gpu=true:NoSchedule"]}
    campus = site({"nodes": [SMALL["nodes"][0], tainted]})

    assert platform_share(campus, worker(campus), campus.machines) == Amount(0, 0)
    assert "ingress-nginx-controller" not in dict(daemon_requests(campus, worker(campus)))


def test_a_preference_is_no_taint() -> None:
    preferring = SMALL["nodes"][1] | {"taints": ["gpu=yes:PreferNoSchedule"]}
    campus = site({"nodes": [SMALL["nodes"][0], preferring]})

    assert takes_people(worker(campus), None)
    assert platform_homes(campus.machines)


def test_work_without_a_gpu_is_kept_off_by_a_taint_and_gpu_work_is_not() -> None:
    tainted = SMALL["nodes"][1] | {"taints": ["dedicated=gpu:NoSchedule"]}
    node = worker(site({"nodes": [SMALL["nodes"][0], tainted]}))

    assert takes_people(node, "a100-40gb")
    assert not takes_people(node, None)


@every_stage
def test_every_profile_of_a_site_starts_at_every_stage(name: str, stage: str) -> None:
    """K2: with the machine's whole size, no GPU notebook fits on any node of forty-workstations at alpha."""
    campus = campus_of(name)
    nodes = campus.in_service(stage)
    never = [
        profile.name
        for profile in effective_profiles(campus, nodes)
        if any(not profile.gpu or takes_people(node, profile.gpu) for node in nodes)
        and not fits_on_worker(campus, nodes, profile.request, profile.gpu, profile.gpus)
    ]

    assert never == []


@every_stage
def test_the_platform_has_a_home_at_every_hour_of_every_stage(name: str, stage: str) -> None:
    """By day the night nodes are off, and servers and storage machines are tainted."""
    campus = campus_of(name)
    homes = platform_homes(campus.in_service(stage))

    assert homeless_pod(campus, homes) is None


def test_a_pod_without_a_place_is_named() -> None:
    campus = site({"shapes": {"gpu": {"cores": 3, "memory": "16 GiB", "disk": "100 GiB", "ceph": "100 GiB"}}})
    homes = platform_homes(campus.machines)

    assert all(room_on_node(campus, node).cpu > 0 for node in homes)
    assert homeless_pod(campus, homes) == "rook-ceph-mon"
