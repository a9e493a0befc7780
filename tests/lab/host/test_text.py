"""Small texts and data that other programs depend on."""

import json
from pathlib import Path

import pytest

from lab import network
from lab.contracts import Nic
from lab.host.hypervisor import hardware_facts
from lab.host.image import write_accounts
from lab.host.plan import BootPlan
from lab.spec import CampusRequest, dump_request, load_request
from tests.lab.host.vms import CAMPUS, vm


def test_the_campus_has_every_served_address_on_its_bridge() -> None:
    lines = network.campus_lines(CAMPUS)
    assert [line for line in lines if line.startswith("address")] == [
        "address add 10.21.0.1/16 dev vmbr0",
        "address add 10.21.0.11/16 dev vmbr0",
        "address add 10.21.0.2/16 dev vmbr0",
    ]
    assert not any("route" in line for line in lines), "nothing may lead out of the campus"


def test_a_card_is_plugged_into_its_bridge_with_its_own_mac() -> None:
    lines = network.plug_lines(CAMPUS, 1001, 77, vm().nics, present={"vmbr0"})
    assert lines == [
        "link add vm1001i0 type veth peer name eth0 address 02:4c:0a:15:01:01 netns 77",
        "link set vm1001i0 master vmbr0 up",
    ]


def test_a_vlan_with_a_network_of_its_own_is_a_bridge_of_its_own() -> None:
    nic = Nic("02:00:00:00:00:01", "vmbr0", 30, "10.99.0.5/24", "10.99.0.1")
    assert network.segment(CAMPUS, nic) == ("vmbr0v30", "10.99.0.1/24")


def test_a_vlan_that_is_the_campus_network_stays_with_the_labs_own_addresses() -> None:
    nic = Nic("02:00:00:00:00:01", "vmbr0", 30, "10.21.0.5/16", "10.21.0.1")
    assert network.segment(CAMPUS, nic) == ("vmbr0", None), "else nothing in the control room could reach the VM"


def test_card_names_fit_the_kernels_15_characters_for_the_longest_vmid() -> None:
    assert len(network.card_name(999_999_999, 31)) <= 15


def test_the_image_takes_system_accounts_and_leaves_people_behind(tmp_path: Path) -> None:
    passwd = "root:x:0:0::/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/bash\nnobody:x:65534:65534::/:/x\n"
    write_accounts(passwd, "root:x:0:\nsudo:x:27:ada\nada:x:1000:\nnogroup:x:65534:\n", tmp_path)
    assert "ada" not in (tmp_path / "passwd").read_text() + (tmp_path / "group").read_text()
    assert "nobody:" in (tmp_path / "passwd").read_text()
    assert "sshd:" in (tmp_path / "passwd").read_text(), "sshd does not start without its account"
    assert (tmp_path / "shadow").read_text().startswith("root:*:")


def test_a_vm_knows_its_hardware_by_guest_addresses() -> None:
    known = hardware_facts(vm())
    assert (known["vmid"], known["address"], known["mac"]) == (1001, "10.21.1.1", "02:4c:0a:15:01:01")
    assert [card["address"] for card in known["gpus"]] == ["0000:01:00.0"], "q35 gives it a bus of its own"


def test_a_boot_plan_survives_the_way_to_the_launcher() -> None:
    plan = BootPlan(1, "a", "/d", "/l", "/u", "", (("s", "t", True),), (("x", "y"),), "ip", {"a": "b"})
    assert BootPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("charts", [None, Path("/srv/charts")])
def test_a_wish_survives_the_way_to_the_daemon(charts: Path | None) -> None:
    wish = CampusRequest(CAMPUS, charts)
    assert load_request(dump_request(wish)) == wish
