"""A first site file from a live Proxmox: valid as written, and kept by a second run."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from typer.testing import CliRunner

from config.load import load_site
from config.scaffold import DiscoveredGpu, DiscoveredHost, SiteAnswers, propose_site
from config.site_writer import merge_hosts, render_site
from config.validate import validate_file
from lab.spec import spec_from_site
from ops.__main__ import app
from ops.site import inventory
from tests.ops.simulated import simulated

CARD = DiscoveredGpu("rtx-4090", "AD102", "0000:01:00.0", 14, "1043:889a")
ANSWERS = SiteAnswers(
    name="first",
    title="First",
    domain="lab.campus.edu",
    endpoint="https://ws-01.campus.edu:8006/",
    image="https://images.campus.edu/node.qcow2",
    cidr=IPv4Network("10.30.0.0/16"),
    gateway=IPv4Address("10.30.0.1"),
    dns=(IPv4Address("10.30.0.2"),),
)


def hosts(count: int, **change: object) -> list[DiscoveredHost]:
    host = DiscoveredHost("ws-00", IPv4Address("10.30.0.200"), 32, 64 * 1024, 2048 * 1024, (CARD,))
    return [
        replace(host, name=f"ws-{n:02d}", address=IPv4Address("10.30.0.200") + n, **change)  # type: ignore[arg-type]
        for n in range(1, count + 1)
    ]


def locate_findings(text: str, tmp_path: Path) -> list[str]:
    (tmp_path / "first.yaml").write_text(text)
    return [str(finding) for finding in validate_file(tmp_path / "first.yaml").findings]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 40])
def test_the_proposed_site_is_valid_for_any_number_of_hosts(count: int, tmp_path: Path) -> None:
    assert locate_findings(render_site(propose_site(hosts(count), ANSWERS)), tmp_path) == []


def test_forty_equal_hosts_are_written_as_one_pattern(tmp_path: Path) -> None:
    text = render_site(propose_site(hosts(40), ANSWERS))
    assert "name: ws-[01-40]" in text
    assert len(text.splitlines()) < 65, "a file that people read"


@pytest.mark.parametrize(
    "taken", ["10.30.0.30", "10.30.0.32", "10.30.0.55", "10.30.0.101"], ids=["api", "server", "services", "worker"]
)
def test_addresses_of_hosts_are_not_proposed(taken: str, tmp_path: Path) -> None:
    machines = [replace(hosts(1)[0], name="pve-a", address=IPv4Address(taken)), *hosts(2)]
    assert locate_findings(render_site(propose_site(machines, ANSWERS)), tmp_path) == []


def test_servers_are_placed_on_hosts_without_gpus() -> None:
    quiet = [replace(host, name=f"cpu-{n}", gpus=()) for n, host in enumerate(hosts(3))]
    site = propose_site(
        [*hosts(2), *[replace(q, address=IPv4Address("10.30.0.240") + n) for n, q in enumerate(quiet)]], ANSWERS
    )
    assert [node["host"] for node in site["nodes"] if node["role"] == "server"] == ["cpu-0", "cpu-1", "cpu-2"]


def test_a_machine_gets_gpus_of_one_model(tmp_path: Path) -> None:
    other = replace(CARD, model="t4", pci="0000:02:00.0", iommu_group=15)
    machines = hosts(1, gpus=(other, CARD, replace(CARD, pci="0000:03:00.0", iommu_group=16)))
    site = propose_site(machines, ANSWERS)
    assert [node.get("gpus") for node in site["nodes"] if node["role"] == "worker"] == [[1, 2]]
    assert locate_findings(render_site(site), tmp_path) == []


def test_hosts_without_a_usable_gpu_are_refused() -> None:
    with pytest.raises(ValueError, match="no host has a GPU"):
        propose_site(hosts(2, gpus=(replace(CARD, iommu_group=-1),)), ANSWERS)


def test_hosts_gpus_network_and_storages_are_read_from_proxmox(tmp_path: Path) -> None:
    site = load_site("lab")
    with simulated(site, tmp_path) as proxmox:
        found = inventory.read_inventory(proxmox.root())
    assert [host.name for host in found.hosts] == ["pve1", "pve2"]
    assert [(gpu.model, gpu.pci, gpu.iommu_group, gpu.subsystem) for gpu in found.hosts[0].gpus] == [
        ("a100-40gb", "0000:41:00.0", 41, "10de:145f"),
        ("a100-40gb", "0000:81:00.0", 81, "10de:145f"),
        ("a100-40gb", "0000:c1:00.0", 91, "10de:145f"),
    ]
    assert (found.bridge, str(found.cidr), str(found.gateway)) == ("vmbr0", "10.21.0.0/16", "10.21.0.1")
    assert (found.vm_storages, found.image_storages) == (("local-lvm",), ("local",))


def test_an_unknown_gpu_is_reported_and_skipped(tmp_path: Path) -> None:
    site = load_site("lab")
    first, *rest = spec_from_site(site, "test").nodes
    strange = replace(first.pci[0], device="ffff", name="Something new")
    with simulated(site, tmp_path, nodes=(replace(first, pci=(strange, *first.pci[1:])), *rest)) as proxmox:
        found = inventory.read_inventory(proxmox.root())
    assert found.unusable_gpus == (
        "pve1: Something new at 0000:41:00.0 (10de:ffff) is not a GPU that Lyceum supports; skipped",
    )


def test_a_site_from_the_simulated_proxmox_is_valid(tmp_path: Path) -> None:
    with simulated(load_site("lab"), tmp_path) as proxmox:
        found = inventory.read_inventory(proxmox.root())
    answers = replace(ANSWERS, cidr=found.cidr or ANSWERS.cidr, gateway=found.gateway or ANSWERS.gateway, dns=found.dns)
    assert locate_findings(render_site(propose_site(found.hosts, answers)), tmp_path) == []


def test_a_second_run_updates_the_hardware_and_keeps_comments() -> None:
    text = render_site(propose_site(hosts(2), ANSWERS)).replace("memory: 64 GiB", "memory: 64 GiB # eight bars", 1)
    grown = [replace(host, memory=128 * 1024) for host in hosts(3)]
    new, changes = merge_hosts(text, grown)
    assert "# eight bars" in new
    assert "A name is an identity" in new
    assert changes == [
        "ws-01: memory 64 GiB -> 128 GiB",
        "ws-02: memory 64 GiB -> 128 GiB",
        "added ws-03",
    ]


def test_a_second_run_on_the_same_hardware_changes_no_byte() -> None:
    text = render_site(propose_site(hosts(4), ANSWERS))
    assert merge_hosts(text, hosts(4)) == (text, [])


def test_a_second_run_keeps_the_sharing_of_a_gpu() -> None:
    text = render_site(propose_site(hosts(1), ANSWERS)).replace(
        'subsystem: "1043:889a"', 'subsystem: "1043:889a", sharing: mps, replicas: 2'
    )
    moved = hosts(1, gpus=(replace(CARD, iommu_group=99),))
    new, changes = merge_hosts(text, moved)
    assert "sharing: mps, replicas: 2" in new
    assert changes == ["ws-01: iommu-group of 0000:01:00.0 14 -> 99"]


def test_a_missing_host_is_reported_and_not_removed() -> None:
    text = render_site(propose_site(hosts(3), ANSWERS))
    new, changes = merge_hosts(text, hosts(2))
    assert changes == ["ws-03 is in the file, but not in Proxmox"]
    assert "ws-03" in new


def test_a_missing_answer_without_a_terminal_names_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.site.init.SITES", tmp_path)
    result = CliRunner().invoke(app, ["init", "first"])
    assert result.exit_code == 2
    assert "--answer first-address=" in result.output


def test_a_site_can_be_described_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.site.init.SITES", tmp_path)
    answers = ("first-address=10.30.0.11", "domain=lab.campus.edu", "image=https://images.campus.edu/node.qcow2")
    result = CliRunner().invoke(app, ["init", "first", *(word for answer in answers for word in ("-a", answer))])
    assert result.exit_code == 0, result.output
    assert validate_file(tmp_path / "first.yaml").findings == []


def test_an_invalid_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.site.init.SITES", tmp_path)
    result = CliRunner().invoke(app, ["init", "first", "-a", "first-address=ten", "-a", "domain=x"])
    assert result.exit_code == 2
    assert "invalid answer" in result.output


def test_an_existing_site_file_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.site.init.SITES", tmp_path)
    (tmp_path / "first.yaml").write_text("name: first # mine\n")
    result = CliRunner().invoke(app, ["init", "first", "--yes"])
    assert result.exit_code == 2
    assert (tmp_path / "first.yaml").read_text() == "name: first # mine\n"
