"""What preflight finds wrong, each time with one thing changed in a campus where nothing is (fault matrix P4, P6, P7, P9)."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from config.finding import Severity
from config.hosts import Node
from ops.checks.preflight.checks import check_machines, disk_mib, find_deleted_vms
from ops.checks.preflight.facts import Facts, HostFacts, PciMapping, parse_mapping
from ops.engine.pulumi_state import Vm
from tests.support.sites import site

SITE = site()
GPU_1 = next(node for node in SITE.machines if node.name == "gpu-1")
CARD = GPU_1.gpus[0]
TIB = 1024**4
Entry = dict[str, Any]

DEVICE: Entry = {
    "id": CARD.pci,
    "class": "0x030200",
    "vendor": "0x10de",
    "device": f"0x{CARD.card.id.split(':')[1]}",
    "device_name": "A100",
    "iommugroup": 41,
}
STORAGES = {
    "local-lvm": {"storage": "local-lvm", "content": "images,rootdir", "avail": 8 * TIB},
    "local": {"storage": "local", "content": "import,iso", "avail": TIB},
}


def entry(**changes: str) -> Entry:
    return {"id": CARD.card.id, "path": CARD.pci, "iommugroup": "41", "subsystem-id": "10de:145f"} | changes


def host(name: str, **changes: Any) -> HostFacts:
    mappings = {
        node.mapping: PciMapping(node.mapping, (entry(),)) for node in SITE.machines if node.host == name and node.gpus
    }
    facts = HostFacts(name, memory_mib=512 * 1024, mappings=mappings, pci=(DEVICE,), storages=STORAGES)
    return replace(facts, **changes)


def facts(vms: dict[int, Entry] | None = None, configs: dict[int, Entry] | None = None, **pve1: Any) -> Facts:
    hosts = {name: host(name) for name in ("pve2", "pve3")} | {"pve1": host("pve1", **pve1)}
    return Facts(hosts, vms or {}, configs or {}, pool=True)


def vm(node: Node, **changes: Any) -> Entry:
    own = {"name": node.name, "node": node.host, "status": "running", "tags": "campus;lyceum", "maxmem": 72 * 1024**3}
    return own | {"vmid": node.vm_id} | changes


def config(node: Node, **changes: Any) -> Entry:
    disks = {"scsi0": "local-lvm:a,size=200G", "scsi1": "local-lvm:b,size=1T", "scsi2": "local-lvm:c,size=500G"}
    hardware = {
        "cores": node.shape.cores,
        "memory": str(node.shape.memory),
        "hostpci0": f"mapping={node.mapping},pcie=1",
    }
    return disks | hardware | changes


def texts(found: Facts) -> list[str]:
    return [str(finding) for finding in check_machines(SITE, SITE.machines, found)]


def existing(**changes: Any) -> Facts:
    return facts({GPU_1.vm_id: vm(GPU_1)}, {GPU_1.vm_id: config(GPU_1, **changes)})


def test_nothing_is_wrong_with_a_campus_as_its_file_says() -> None:
    assert texts(facts()) == []


def test_nothing_is_wrong_with_machines_that_exist_as_they_should() -> None:
    assert texts(existing()) == []


def test_a_token_without_its_pool_is_reported_before_anything_is_believed() -> None:
    """Proxmox answers a token without rights with empty lists, which would read as an empty campus."""
    (text,) = texts(replace(facts(), pool=False))

    assert "Pool.Audit on /pool/lyceum" in text


DEAD: list[tuple[str, Entry, str]] = [
    ("a host that is off", {"problem": "is offline"}, "pve1: is offline; the site places server-1, gpu-1 there"),
    ("no mapping", {"mappings": {}}, "no PCI mapping `lyceum-gpu-1` on pve1"),
    ("no card at its address", {"pci": ()}, "needs a PCI device at 0000:41:00.0, and pve1 has none there"),
    (
        "another card",
        {"pci": (DEVICE | {"device": "0x2204"},)},
        "has 10de:2204 (A100) at 0000:41:00.0 of pve1, not 10de:20f1",
    ),
    ("no IOMMU", {"pci": (DEVICE | {"iommugroup": -1},)}, "switch the IOMMU on"),
    (
        "too little memory",
        {"memory_mib": 64 * 1024},
        "pve1: has 60 GiB of memory for machines (64 GiB less the reserve); server-1, gpu-1 need 88 GiB; ",
    ),
    (
        "no storage",
        {"storages": {"local": STORAGES["local"]}},
        "no storage `local-lvm` that holds `images`; no storage of the host does",
    ),
    (
        "a full storage",
        {"storages": STORAGES | {"local-lvm": STORAGES["local-lvm"] | {"avail": TIB}}},
        "has 1024 GiB free on `local-lvm`, and server-1, gpu-1 need 1824 GiB",
    ),
]


@pytest.mark.parametrize(("changes", "text"), [case[1:] for case in DEAD], ids=[case[0] for case in DEAD])
def test_what_is_wrong_with_a_host_is_said_in_one_line(changes: Entry, text: str) -> None:
    (found,) = texts(facts(**changes))

    assert text in found


NEIGHBOURS: list[tuple[str, Entry, bool]] = [
    ("a network card", {"id": "0000:42:00.0", "class": "0x020000"}, True),
    ("the bridge above", {"id": "0000:40:00.0", "class": "0x060400"}, False),
    ("its own audio", {"id": "0000:41:00.1", "class": "0x040300"}, False),
    ("a card of another group", {"id": "0000:43:00.0", "class": "0x020000", "iommugroup": 7}, False),
]


@pytest.mark.parametrize(("other", "wrong"), [case[1:] for case in NEIGHBOURS], ids=[case[0] for case in NEIGHBOURS])
def test_a_group_is_the_cards_alone(other: Entry, wrong: bool) -> None:
    found = texts(facts(pci=(DEVICE, DEVICE | {"device_name": "other"} | other)))

    assert bool(found) is wrong
    assert not wrong or "shares IOMMU group 41 of 0000:41:00.0 with 0000:42:00.0 (other)" in found[0]


def test_a_token_that_may_not_see_devices_leaves_that_to_the_mapping() -> None:
    """hardware/pci asks Sys.Audit on `/`, more than a token needs; Proxmox itself holds mappings against the hardware."""
    assert texts(facts(pci=None)) == []


MAPPED: list[tuple[str, PciMapping, str]] = [
    (
        "another slot",
        PciMapping("m", (entry(path="0000:81:00.0"),)),
        "has 0000:81:00.0 in its mapping `m`, and 0000:41:00.0 in the site file",
    ),
    (
        "another card",
        PciMapping("m", (entry(id="10de:2204"),)),
        "has 10de:2204 at 0000:41:00.0 in its mapping `m`, not 10de:20f1",
    ),
    (
        "no group",
        PciMapping("m", ({key: value for key, value in entry().items() if key != "iommugroup"},)),
        "lacks iommugroup",
    ),
    (
        "changed hardware",
        PciMapping("m", (entry(),), ("'id' does not match",)),
        "does not describe: 'id' does not match; the card was moved",
    ),
]


@pytest.mark.parametrize(("known", "text"), [case[1:] for case in MAPPED], ids=[case[0] for case in MAPPED])
def test_a_mapping_must_be_what_the_file_says(known: PciMapping, text: str) -> None:
    found = texts(facts(mappings={"lyceum-gpu-1": known}))

    assert any(text in line for line in found)


def test_the_holder_of_a_card_is_named() -> None:
    stranger = vm(GPU_1, vmid=999, name="desktop-9", maxmem=0)
    configs = {999: {"hostpci0": "mapping=lyceum-gpu-1,pcie=1"}}

    assert texts(facts({999: stranger}, configs)) == [
        (
            "gpu-1: needs 0000:41:00.0, which the running VM 999 `desktop-9` uses; a card has one owner: stop that VM, or give "
            "the machine another card"
        )
    ]


def test_a_stopped_machine_holds_no_card() -> None:
    """Machines that take turns share their card."""
    stranger = vm(GPU_1, vmid=999, name="desktop-9", status="stopped")

    assert texts(facts({999: stranger}, {999: {"hostpci0": "mapping=lyceum-gpu-1"}})) == []


def test_a_vmid_of_somebody_else_is_not_taken() -> None:
    found = texts(facts({GPU_1.vm_id: vm(GPU_1, name="printer", maxmem=0)}))

    assert f"has VMID {GPU_1.vm_id}, which belongs to `printer`" in found[0]


def _detached() -> Facts:
    found = existing()
    bare = deepcopy(dict(found.configs))
    del bare[GPU_1.vm_id]["hostpci0"]
    return replace(found, configs=bare)


CHANGES: list[tuple[str, Callable[[], Facts], str, Severity]] = [
    (
        "a shrinking disk",
        lambda: existing(scsi1="b,size=2T"),
        "has a disk scsi1 of 2 TiB, which cannot shrink to 1 TiB",
        Severity.ERROR,
    ),
    (
        "memory and disk at once",
        lambda: existing(memory="65536", scsi0="a,size=100G"),
        "change the disk first, then the rest",
        Severity.ERROR,
    ),
    (
        "memory",
        lambda: existing(memory="65536"),
        "takes effect when the machine is next switched off",
        Severity.WARNING,
    ),
    ("a detached card", _detached, "has 0 of its 1 GPUs", Severity.WARNING),
]


@pytest.mark.parametrize(
    ("make", "text", "severity"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_a_change_of_what_exists_is_judged(make: Callable[[], Facts], text: str, severity: Severity) -> None:
    (found,) = check_machines(SITE, SITE.machines, make())

    assert text in str(found)
    assert found.severity is severity


def test_a_machine_that_somebody_deleted_is_reported_and_not_created_again_without_being_asked() -> None:
    known = {"gpu-1": Vm("gpu-1", GPU_1.vm_id, "pve1", "urn")}
    (found,) = find_deleted_vms("prod", SITE.machines, known, facts())

    assert str(found).startswith(f"gpu-1: was deleted in Proxmox (VM {GPU_1.vm_id}); ")
    assert "./lyceum node replace prod gpu-1 creates it with empty disks" in found.remedy
    assert found.severity is Severity.WARNING
    assert find_deleted_vms("prod", SITE.machines, known, existing()) == []
    assert find_deleted_vms("prod", SITE.machines, known, replace(facts(), pool=False)) == [], (
        "who sees nothing knows nothing"
    )


@pytest.mark.parametrize(("text", "mib"), [("a:b,size=200G", 204800), ("size=1T", 1048576), ("none,media=cdrom", None)])
def test_sizes_of_disks_are_read(text: str, mib: int | None) -> None:
    assert disk_mib(text) == mib


def test_a_mapping_is_read_for_its_host() -> None:
    lines = ["id=10de:20f1,iommugroup=41,node=pve1,path=0000:41:00.0", "id=10de:20f1,node=pve2,path=0000:81:00.0"]
    checks = [{"severity": "error", "message": "gone"}, {"severity": "warning", "message": "odd"}]
    found = parse_mapping({"id": "m", "map": lines, "checks": checks}, "pve1")

    assert [one["path"] for one in found.entries] == ["0000:41:00.0"]
    assert found.complaints == ("gone",)
