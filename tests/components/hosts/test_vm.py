"""A virtual machine's options, each of which decides whether it survives its next update."""

from ipaddress import IPv4Address
from typing import Any

import pulumi
import pulumi_proxmoxve as px
import pytest

from components.base import Component
from components.hosts.vm import to_gib, virtual_machine
from config.hosts import Role
from config.site import Site
from tests.support.mocks import Registered, build
from tests.support.sites import A100, SMALL, site, with_cards

VM = "proxmoxve:index/vmLegacy:VmLegacy"
NO_CDROM = {"interface": "ide0", "fileId": "none"}


NIGHT = {"name": "night", "days": "mon-fri", "start": "20:00", "end": "08:00", "use": "cluster"}


class Room(Component):
    """Holds one machine, as a fleet does."""

    TOKEN = "lyceum:test:Room"

    def __init__(self, campus: Site, name: str) -> None:
        super().__init__("room")
        [node] = [node for node in campus.machines if node.name == name]
        virtual_machine(node, campus, "local:import/node.qcow2", "ssh-ed25519 AAAA lyceum", self.child())
        self.register_outputs({})


def machine(name: str = "gpu-1", campus: Site | None = None) -> Registered:
    def program() -> None:
        Room(campus or site(), name)

    return build(program).one(VM, f"{name}-vm")


@pytest.fixture(scope="module")
def worker() -> Registered:
    return machine("gpu-1")


@pytest.fixture(scope="module")
def server() -> Registered:
    return machine("server-1")


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("machine", "q35", "PCIe passthrough needs it"),
        ("bios", "ovmf", "large BARs need UEFI"),
        ("cdrom", NO_CDROM, "the default CD-ROM sits on ide3, which q35 does not have (bpg#420)"),
        ("bootOrders", ["scsi0"], "the default order names the CD-ROM that is not there"),
        ("operatingSystem", {"type": "l26"}, "the bridge's default is `other`"),
        ("scsiHardware", "virtio-scsi-single", "an I/O thread a disk; the bridge's default is virtio-scsi-pci"),
        ("cpu", {"cores": 18, "type": "host"}, "drivers look for the host's instructions"),
        ("memory", {"dedicated": 72 * 1024, "floating": 0}, "passthrough pins all of it: a balloon cannot give back"),
        (
            "agent",
            {"enabled": True, "waitForIp": {"disabled": True}},
            "the address is ours: no waiting at every refresh",
        ),
        ("rebootAfterUpdate", False, "an update must not reboot somebody's job"),
        ("stopOnDestroy", True, "a guest that does not answer must not hang a destroy"),
        ("deleteUnreferencedDisksOnDestroy", False, "the default deletes disks that were only detached"),
        ("migrate", False, "a mapping is bound to its host"),
        ("onBoot", True, "a host that restarts brings its machines back"),
        ("poolId", "lyceum", "the token sees nothing outside the pool"),
        ("vmId", 100_000 + 41, "given, never asked for: two runs would race"),
        ("nodeName", "pve1", "the site says so"),
    ],
)
def test_an_option_is_what_it_must_be(worker: Registered, option: str, value: object, why: str) -> None:
    assert worker.inputs[option] == value, why


def test_secure_boot_keys_are_not_enrolled(worker: Registered) -> None:
    """With them the unsigned driver modules would not load."""
    assert worker.inputs["efiDisk"]["preEnrolledKeys"] is False


def test_a_machine_is_protected_from_being_deleted(worker: Registered) -> None:
    assert worker.request.protect


def test_a_machine_is_deleted_before_it_is_replaced(worker: Registered) -> None:
    """VMID, card and address exist once."""
    assert worker.request.deleteBeforeReplace


def test_of_two_machines_that_take_turns_on_a_card_one_is_started() -> None:
    """Started both, the second takes the first one's card and memory; on it, a later `up` decides nothing."""
    shape, calendar = SMALL["shapes"], {"time-zone": "Europe/Vienna", "periods": [NIGHT]}
    turns = [
        {
            "name": "night-1",
            "role": "worker",
            "host": "pve1",
            "shape": "gpu",
            "address": "10.9.0.41",
            "shift": "cluster",
        },
        {
            "name": "player-1",
            "role": "desktop",
            "host": "pve1",
            "shape": "gpu",
            "address": "10.9.0.42",
            "shift": "owners",
        },
    ]
    campus = site({"shapes": shape, "nodes": [SMALL["nodes"][0], *turns], "calendar": calendar})
    night, player = machine("night-1", campus), machine("player-1", campus)

    assert ("started" in night.inputs, night.inputs["onBoot"]) == (False, True), "started is the provider's default"
    assert (player.inputs["started"], player.inputs["onBoot"]) == (False, False)
    assert "started" in night.request.ignoreChanges
    assert "started" in player.request.ignoreChanges


def test_a_change_of_cloud_init_replaces_nothing(worker: Registered) -> None:
    """It runs once; its fields would force a new machine (bpg#2901)."""
    assert "initialization" in worker.request.ignoreChanges


def test_each_disks_speed_is_ignored_and_nothing_else_of_a_disk(worker: Registered) -> None:
    """`speed` shows a difference that is none (pulumi-proxmoxve#35); ignoring `disks` would hide a resize."""
    ignored = [change for change in worker.request.ignoreChanges if change.startswith("disks")]

    assert ignored == [f"disks[{index}].speed" for index in range(3)]


@pytest.mark.parametrize("hidden", ["hostpcis", "memory", "cpu", "disks"])
def test_a_change_of_hardware_is_shown(worker: Registered, hidden: str) -> None:
    assert hidden not in worker.request.ignoreChanges


def test_tags_are_sorted_and_lower_case_as_proxmox_keeps_them(worker: Registered) -> None:
    assert worker.inputs["tags"] == ["campus", "lyceum", "worker"]


def test_a_card_is_named_by_its_mapping_and_never_by_its_address(worker: Registered) -> None:
    """A raw address needs root's own password (bpg#495)."""
    [card] = worker.inputs["hostpcis"]

    assert card == {"device": "hostpci0", "mapping": "lyceum-gpu-1", "pcie": True, "rombar": True}


def test_several_cards_take_devices_of_the_machines_one_mapping() -> None:
    cards = machine(campus=with_cards({}, {}, {})).inputs["hostpcis"]

    assert [(card["device"], card["mapping"]) for card in cards] == [(f"hostpci{n}", "lyceum-gpu-1") for n in range(3)]


def test_a_machine_without_cards_has_none(server: Registered) -> None:
    assert server.inputs["hostpcis"] == []


def test_only_the_system_disk_starts_from_the_image(worker: Registered) -> None:
    disks = {disk["serial"]: disk for disk in worker.inputs["disks"]}

    assert disks["system"]["importFrom"] == "local:import/node.qcow2"
    assert [serial for serial, disk in disks.items() if "importFrom" in disk] == ["system"]
    assert not any("fileId" in disk for disk in disks.values()), "`fileId` needs SSH to the host and forces replacement"


def test_disks_are_in_a_fixed_order_with_serials(worker: Registered) -> None:
    """The order is the provider's identity of a disk; the serial is the guest's."""
    disks = [(disk["interface"], disk["serial"], disk["size"]) for disk in worker.inputs["disks"]]

    assert disks == [("scsi0", "system", 200), ("scsi1", "scratch", 1024), ("scsi2", "ceph", 500)]


def test_a_machine_without_scratch_keeps_its_disks_without_a_gap() -> None:
    shapes = {"gpu": {"scratch": None}}
    disks = machine(campus=site({"shapes": shapes})).inputs["disks"]

    assert [(disk["interface"], disk["serial"]) for disk in disks] == [("scsi0", "system"), ("scsi1", "ceph")]


def test_only_the_system_disk_is_backed_up(worker: Registered) -> None:
    assert [disk["serial"] for disk in worker.inputs["disks"] if disk["backup"]] == ["system"]


def test_the_network_is_the_sites() -> None:
    changes: dict[str, Any] = {"network": {"vlan": 633, "mtu": 9000, "bridge": "vmbr1", "search": "lab.example"}}
    inputs = machine("server-1", site(changes)).inputs

    assert inputs["networkDevices"] == [
        {"bridge": "vmbr1", "macAddress": "02:4C:0A:09:00:1F", "vlanId": 633, "mtu": 9000}
    ]
    assert inputs["initialization"]["ipConfigs"] == [{"ipv4": {"address": "10.9.0.31/16", "gateway": "10.9.0.1"}}]
    assert inputs["initialization"]["dns"] == {"servers": ["10.9.0.2", "10.9.0.3"], "domain": "lab.example"}


def test_cloud_init_makes_the_user_with_our_key_and_no_password(worker: Registered) -> None:
    account = worker.inputs["initialization"]["userAccount"]

    assert account == {"username": "lyceum", "keys": ["ssh-ed25519 AAAA lyceum"]}


def test_a_desktop_has_a_screen_and_a_server_has_none(server: Registered) -> None:
    desktop = {"name": "desk-1", "role": "desktop", "host": "pve1", "shape": "server", "address": "10.9.0.99"}
    campus = site({"nodes": [desktop]})

    assert campus.machines[0].role is Role.DESKTOP
    assert machine("desk-1", campus).inputs["vga"] == {"type": "virtio"}
    assert "vga" not in server.inputs


def test_the_mac_is_upper_case_as_proxmox_prints_it(worker: Registered) -> None:
    [device] = worker.inputs["networkDevices"]

    assert device["macAddress"] == device["macAddress"].upper()


def test_a_disk_must_be_whole_gibibytes() -> None:
    with pytest.raises(ValueError, match="1500 MiB is not a whole number of GiB"):
        to_gib(1500)


def test_the_small_campus_derives_ids_from_addresses() -> None:
    """What the tests above rely on."""
    campus = site()

    assert [node.vm_id for node in campus.machines] == [100_000 + n for n in (31, 32, 33, 41, 42)]
    assert campus.machines[0].address == IPv4Address("10.9.0.31")
    assert campus.hosts_by_name["pve1"].gpus[0].pci == A100["pci"]


def test_the_given_options_are_kept() -> None:
    def program() -> None:
        first = px.hardware.mapping.Pci("first", maps=[])
        node = site().machines[0]
        virtual_machine(node, site(), "image", "key", pulumi.ResourceOptions(depends_on=[first]))

    graph = build(program)
    [vm] = graph.of_type(VM)

    assert [one.name for one in graph.by_urn.values() if one.urn in graph.before(vm)] == ["first"]
