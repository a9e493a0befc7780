"""How sent configuration becomes stored configuration: pure functions, one case a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.proxmox import pci, propstring, vmconfig, vmspec
from lab.proxmox.errors import ApiError
from lab.proxmox.propstring import GIB, MIB
from lab.proxmox.vmconfig import CloudInit, Existing, NewDisk, NoMedia
from tests.lab.proxmox.campus import GPUS, NIC, make_spec, mapped_device

PVE1 = make_spec().nodes[0]


@pytest.mark.parametrize(
    ("key", "text", "request_", "options"),
    [
        ("scsi0", "local-lvm:32,iothread=1", NewDisk("local-lvm", 32 * GIB, "raw", None), {"iothread": "1"}),
        (
            "scsi0",
            "file=local-lvm:0,import-from=local:import/x.qcow2,format=qcow2,size=9",
            NewDisk("local-lvm", 0, "qcow2", "local:import/x.qcow2"),
            {},
        ),
        ("efidisk0", "local-lvm:1,efitype=4m", NewDisk("local-lvm", 4 * MIB, "raw", None), {"efitype": "4m"}),
        ("ide2", "file=local-lvm:cloudinit", CloudInit("local-lvm", "raw"), {}),
        ("ide0", "none,media=cdrom", NoMedia("none"), {"media": "cdrom"}),
        ("scsi1", "local-lvm:vm-100-disk-1,size=8G", Existing("local-lvm:vm-100-disk-1"), {}),
    ],
)
def test_a_drive_is_read(key: str, text: str, request_: object, options: dict[str, str]) -> None:
    assert vmconfig.parse_drive(key, text) == (request_, options)


def test_an_import_needs_the_size_zero() -> None:
    with pytest.raises(ApiError) as refusal:
        vmconfig.parse_drive("scsi0", "local-lvm:5,import-from=local:import/x.qcow2")
    assert "use <storage ID>:0,import-from=<source>" in refusal.value.errors["scsi0"]


@pytest.mark.parametrize(
    ("text", "previous", "stored"),
    [
        ("virtio,bridge=vmbr0", None, "virtio=BC:24:11:AA:BB:CC,bridge=vmbr0"),
        ("model=virtio,bridge=vmbr0,macaddr=00:16:3e:63:79:26", None, "virtio=00:16:3E:63:79:26,bridge=vmbr0"),
        ("virtio=00:16:3e:63:79:26,tag=633,bridge=vmbr0", None, "virtio=00:16:3E:63:79:26,bridge=vmbr0,tag=633"),
        ("virtio,bridge=vmbr1", "virtio=00:16:3E:63:79:26,bridge=vmbr0", "virtio=00:16:3E:63:79:26,bridge=vmbr1"),
    ],
    ids=["fresh address", "long form", "short form", "address kept"],
)
def test_a_network_card_leads_with_its_model(text: str, previous: str | None, stored: str) -> None:
    assert vmconfig.render_network_card("net0", text, previous, "BC:24:11:AA:BB:CC") == stored


@pytest.mark.parametrize("text", ["bridge=vmbr0", "virtio=zz:16:3e:63:79:26"])
def test_a_card_without_model_or_with_a_broken_address_is_refused(text: str) -> None:
    with pytest.raises(ApiError):
        vmconfig.render_network_card("net0", text, None, "BC:24:11:AA:BB:CC")


@pytest.mark.parametrize(
    ("key", "text", "stored"),
    [("cores", "8", 8), ("onboot", "1", 1), ("memory", "4096", "4096"), ("description", "", None)],
)
def test_other_options_have_the_types_that_the_provider_can_read(key: str, text: str, stored: object) -> None:
    assert vmconfig.normalise_option(key, text) == stored


@given(st.lists(st.text("abcXYZ019-", min_size=1, max_size=8)))
def test_tags_are_a_sorted_set(tags: list[str]) -> None:
    """Whatever order they are sent in, they read back the same: else every plan has a change."""
    once = vmconfig.normalise_tags(",".join(tags))
    assert once == vmconfig.normalise_tags(";".join(reversed(tags)))
    assert once == ";".join(sorted({tag.lower() for tag in tags}))


@given(st.integers(min_value=1, max_value=1 << 50))
def test_a_size_reads_back_exactly(size: int) -> None:
    assert propstring.parse_size(propstring.render_size(size)) == size


def test_agent_option_in_its_long_form_is_understood() -> None:
    assert vmspec.agent_enabled({"agent": "enabled=1,type=virtio"})
    assert not vmspec.agent_enabled({"agent": "enabled=0,type=virtio"})
    assert not vmspec.agent_enabled({})


def test_memory_and_device_changes_wait_for_a_restart() -> None:
    assert [key for key in ("memory", "hostpci0", "cores", "machine", "agent") if vmconfig.is_live(key)] == []
    assert all(vmconfig.is_live(key) for key in ("net0", "scsi1", "tags", "name", "onboot"))


def test_hardware_is_listed_without_bridges() -> None:
    shown = pci.list_devices(PVE1)

    assert [entry["id"] for entry in shown] == ["0000:41:00.0", "0000:81:00.0", "0000:05:00.0"]
    assert shown[0]["class"] == "0x030200"
    assert (shown[0]["vendor"], shown[0]["iommugroup"]) == ("0x10de", 12)


def test_a_mapping_that_no_longer_fits_the_hardware_is_refused() -> None:
    good = mapped_device("pve1", GPUS[0])

    assert pci.check_mapping(PVE1, good) is None
    assert "'iommugroup' does not match" in str(pci.check_mapping(PVE1, good.replace("iommugroup=12", "iommugroup=3")))
    assert "'id' does not match" in str(pci.check_mapping(PVE1, good.replace("20f1", "2330")))
    assert "not found" in str(pci.check_mapping(PVE1, good.replace("0000:41", "0000:42")))


def test_a_mapping_of_several_cards_gives_each_option_another_one() -> None:
    entries = {"any": [mapped_device("pve1", gpu) for gpu in GPUS]}
    wanted = {0: "mapping=any,pcie=1", 1: "mapping=any,pcie=1"}

    assert pci.assign_devices(PVE1, wanted, entries, {}) == list(GPUS)
    with pytest.raises(ApiError, match=r"'0000:81:00\.0' already in use by VMID '7'"):
        pci.assign_devices(PVE1, wanted, entries, {"0000:81:00.0": 7})


def test_a_card_that_shares_its_group_with_a_host_device_is_not_viable() -> None:
    """VFIO hands over whole groups: the network card would vanish from the host."""
    shared = NIC.__class__(**{**NIC.__dict__, "iommu_group": 12})
    node = PVE1.__class__(**{**PVE1.__dict__, "pci": (*GPUS, shared)})

    assert "group 12 is not viable: it also holds 0000:05:00.0" in str(pci.group_conflict(node, [GPUS[0]]))
    assert pci.group_conflict(PVE1, [GPUS[0]]) is None, "a bridge in the group does no harm"
