"""All machines of a site: images once a host, identity once a member, nothing secret in sight."""

from typing import Any

import pulumi
import pulumi_proxmoxve as px
import pytest

from components.handles import NodeHandle
from components.hosts.fleet import Fleet, FleetArgs
from config.hosts import Node
from config.site import Site
from tests.support.mocks import Graph, Registered, build
from tests.support.sites import site

TOKEN = "lyceum@pve!lyceum=secret-of-the-token"
LOCAL = "command:local:Command"
MAPPING = "proxmoxve:hardware/mapping/pci:Pci"
MANAGED: dict[str, Any] = {"proxmox": {"mappings": "managed"}}


def fleet(
    campus: Site | None = None, nodes: tuple[Node, ...] | None = None, *, kind: str = "machines"
) -> tuple[Graph, list[NodeHandle]]:
    chosen = campus or site()
    machines: list[NodeHandle] = []

    def program() -> None:
        provider = px.Provider("proxmox", endpoint="https://pve1.campus.example:8006/")
        args = FleetArgs(
            site=chosen,
            nodes=chosen.machines if nodes is None else nodes,
            ssh_key="ssh-ed25519 AAAA lyceum",
            proxmox_token=pulumi.Output.secret(TOKEN),
        )
        machines.extend(getattr(Fleet("fleet", args, pulumi.ResourceOptions(providers=[provider])), kind))

    def answers(one: Registered) -> dict[str, str]:
        return {"stdout": f"answer-to-{one.name}"} if one.type == LOCAL else {}

    return build(program, answers=answers), machines


@pytest.fixture(scope="module")
def graph() -> Graph:
    return fleet()[0]


def commands(graph: Graph, ending: str) -> dict[str, str]:
    return {one.name: one.inputs["create"] for one in graph.of_type(LOCAL) if one.name.endswith(ending)}


def test_a_fleet_keeps_the_house_rules(graph: Graph) -> None:
    assert graph.orphans == []
    assert graph.unfinished == []
    assert graph.duplicates == []
    assert graph.on_default_provider("proxmoxve") == []


def test_each_host_gets_the_image_once(graph: Graph) -> None:
    assert sorted(commands(graph, "-image")) == ["pve1-image", "pve2-image", "pve3-image"]


def test_the_image_is_asked_for_with_its_checksum(graph: Graph) -> None:
    expected = f"python3 components/hosts/pve.py image pve1 local lyceum-node.qcow2 https://images.campus.example/node.qcow2 {'ab' * 64}"

    assert commands(graph, "-image")["pve1-image"] == expected


def test_a_file_name_cannot_become_a_command() -> None:
    url = "https://images.campus.example/node;reboot.qcow2"
    graph, _ = fleet(site({"proxmox": {"image": {"url": url}}}))

    assert f"'{url}'" in commands(graph, "-image")["pve1-image"]


def test_a_machine_starts_from_its_own_hosts_image(graph: Graph) -> None:
    vm = graph.one("proxmoxve:index/vmLegacy:VmLegacy", "gpu-2-vm")

    assert vm.inputs["disks"][0]["importFrom"] == "answer-to-pve2-image"


def test_each_member_is_asked_for_its_host_key(graph: Graph) -> None:
    assert commands(graph, "-host-key")["gpu-1-host-key"].endswith("pve.py host-key pve1 100041")
    assert len(commands(graph, "-host-key")) == 5


def test_a_host_key_is_read_from_a_machine_that_exists(graph: Graph) -> None:
    key, vm = graph.one(LOCAL, "gpu-1-host-key"), graph.one("proxmoxve:index/vmLegacy:VmLegacy", "gpu-1-vm")

    assert vm.urn in graph.before(key)


def test_a_replaced_machine_is_asked_again(graph: Graph) -> None:
    """Only the trigger says that the machine behind the same VMID is another one."""
    assert graph.one(LOCAL, "gpu-1-host-key").inputs["triggers"] == [100_041]


def test_the_token_is_in_the_environment_and_in_an_envelope(graph: Graph) -> None:
    [*asked] = graph.of_type(LOCAL)

    assert {one.inputs["environment"]["PVE_TOKEN"] for one in asked} == {TOKEN}
    assert graph.leaks("secret-of-the-token") == []
    assert [one.name for one in asked if TOKEN in one.inputs["create"]] == []


def test_verification_has_a_ca_and_no_switch(graph: Graph) -> None:
    for one in graph.of_type(LOCAL):
        assert set(one.inputs["environment"]) == {"PVE_ENDPOINT", "PVE_TOKEN", "PVE_CA"}
        assert one.inputs["environment"]["PVE_CA"] == "ca.pem"


def test_members_are_handed_down_in_the_order_of_the_file() -> None:
    _, machines = fleet()

    assert [machine.spec.name for machine in machines] == ["server-1", "server-2", "server-3", "gpu-1", "gpu-2"]


def test_a_desktop_is_a_machine_but_no_member() -> None:
    desktop = {"name": "desk-1", "role": "desktop", "host": "pve1", "shape": "server", "address": "10.9.0.99"}
    graph, machines = fleet(site({"nodes": [desktop]}))

    assert machines == []
    assert [one.name for one in graph.of_type("proxmoxve:index/vmLegacy:VmLegacy")] == ["desk-1-vm"]
    assert commands(graph, "-host-key") == {}


def test_the_operators_machine_is_no_member_and_has_a_host_key() -> None:
    """Lyceum logs in to it as to a node."""
    maintenance = {"name": "ops-1", "role": "maintenance", "host": "pve1", "shape": "server", "address": "10.9.0.99"}
    campus = site({"nodes": [maintenance]})
    graph, machines = fleet(campus)

    assert machines == []
    assert [machine.spec.name for machine in fleet(campus, kind="maintenance")[1]] == ["ops-1"]
    assert list(commands(graph, "-host-key")) == ["ops-1-host-key"]


def test_mappings_are_the_administrators_by_default(graph: Graph) -> None:
    """The token then needs Mapping.Use and nothing more."""
    assert graph.of_type(MAPPING) == []


def test_a_managed_mapping_is_complete_and_comes_before_its_machine() -> None:
    graph, _ = fleet(site(MANAGED))
    mapping = graph.one(MAPPING, "gpu-1-gpus")

    assert mapping.inputs["name"] == "lyceum-gpu-1"
    assert mapping.inputs["maps"] == [
        {
            "id": "10de:20f1",
            "node": "pve1",
            "path": "0000:41:00.0",
            "iommuGroup": 41,
            "subsystemId": "10de:145f",
        }
    ], "Proxmox calls a mapping without group or subsystem incomplete"
    assert mapping.urn in graph.before(graph.one("proxmoxve:index/vmLegacy:VmLegacy", "gpu-1-vm"))


def test_a_machine_without_cards_has_no_mapping() -> None:
    graph, _ = fleet(site(MANAGED))

    assert [one.name for one in graph.of_type(MAPPING)] == ["gpu-1-gpus", "gpu-2-gpus"]
