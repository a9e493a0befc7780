"""Every finding of the doctor, each injected into the simulated Proxmox or into the network."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from config.finding import Finding, Severity
from config.load import load_site
from config.proxmox_grants import ROLES, required_grants
from config.site import Site
from lab.spec import spec_from_site
from ops.checks.doctor.command import run_checks
from tests.ops.simulated import Simulated, simulated


class Quiet:
    """A network in which nobody answers, and every name resolves."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.held: dict[str, str] = {}
        self.answers: list[str] | None = [str(site.network.load_balancers.first)]

    def find_holder(self, address: IPv4Address) -> str | None:
        return self.held.get(str(address))

    def resolve(self, server: IPv4Address, name: str) -> list[str] | None:
        return self.answers


@pytest.fixture(name="site", scope="module")
def _site() -> Site:
    # As the lab, but a real one: only there names are looked at.
    return load_site("lab").model_copy(update={"simulated": False})


@pytest.fixture(name="quiet")
def _quiet(site: Site) -> Quiet:
    return Quiet(site)


@pytest.fixture(name="proxmox")
def _proxmox(site: Site, tmp_path: Path) -> Iterator[Simulated]:
    with simulated(site, tmp_path) as found:
        yield found


def faults(proxmox: Simulated, site: Site, probe: Quiet, **how: Any) -> list[Finding]:
    return [finding for finding in run(proxmox, site, probe, **how) if finding.severity is Severity.ERROR]


def run(proxmox: Simulated, site: Site, probe: Quiet, *, root: bool = False) -> list[Finding]:
    return list(run_checks(proxmox.root if root else proxmox.api, site, "all", probe))


def test_a_campus_that_is_as_its_file_says_has_no_fault(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    findings = run(proxmox, site, quiet, root=True)
    assert [finding for finding in findings if finding.severity is not Severity.OK] == []
    asked = {finding.subject for finding in findings}
    assert asked == {
        *("version", "privileges", "quorum", "time", "hardware", "iommu", "vmid", "bridge", "image", "addresses", "dns")
    }


def test_the_token_alone_finds_no_fault_and_says_what_it_could_not_see(
    proxmox: Simulated, site: Site, quiet: Quiet
) -> None:
    findings = run(proxmox, site, quiet)
    assert {finding.subject for finding in findings if finding.severity is Severity.UNKNOWN} == {"quorum", "iommu"}
    assert not [finding for finding in findings if finding.severity is Severity.ERROR]


def test_an_unreachable_proxmox_is_reported(site: Site, quiet: Quiet) -> None:
    from ops.clients.proxmox import ProxmoxApi  # noqa: PLC0415 - the only test that needs a real socket

    api = ProxmoxApi("https://127.0.0.1:9/", None, "lyceum@pve!lyceum=x")
    (finding,) = [item for item in run_checks(lambda: api, site, "all", quiet) if item.severity is Severity.ERROR]
    assert (finding.subject, "does not answer" in finding.rule) == ("reachable", True)
    assert "proxmox.endpoint" in finding.remedy


def test_a_token_that_is_not_accepted_is_reported_with_the_command_that_sets_another(
    proxmox: Simulated, site: Site, quiet: Quiet
) -> None:
    wrong = proxmox.token.rpartition("=")[0] + "=00000000-0000-0000-0000-000000000000"
    (finding,) = [
        item for item in run_checks(lambda: proxmox.api(wrong), site, "all", quiet) if item.severity is Severity.ERROR
    ]
    assert "does not accept the token" in finding.rule
    assert "./lyceum secrets set lab proxmox-token" in finding.remedy


def test_a_proxmox_that_is_too_old_is_reported(
    proxmox: Simulated, site: Site, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("lab.proxmox.routes.cluster", fromlist=["VERSION"]).VERSION, "version", "8.1.4")
    (finding,) = faults(proxmox, site, quiet)
    assert (finding.subject, finding.rule) == ("version", "Proxmox VE 8.1.4 cannot import images over its API")


PRIVILEGES = [
    (role, name)
    for role in ("Lyceum", "LyceumDisks", "LyceumImages", "LyceumNode", "LyceumBridge", "LyceumDevice")
    for name in ROLES[role]
]


@pytest.mark.parametrize(("role", "privilege"), PRIVILEGES, ids=[f"{role}-{name}" for role, name in PRIVILEGES])
def test_each_missing_privilege_is_named_with_its_path_and_the_command_that_grants_it(
    proxmox: Simulated, site: Site, quiet: Quiet, role: str, privilege: str
) -> None:
    proxmox.do("PUT", f"access/roles/{role}", privs=",".join(name for name in ROLES[role] if name != privilege))
    reported = [finding for finding in faults(proxmox, site, quiet) if finding.subject == "privileges"]
    # Several roles may hold one privilege on one path; then nothing is missing there.
    expected = {f"the token lacks {privilege} on {path}" for path, needed in required_grants(site) if needed == role}
    assert {finding.rule for finding in reported} == expected
    assert all(finding.remedy.startswith("pveum acl modify") and role in finding.remedy for finding in reported)


def test_a_host_that_is_not_there_is_reported(site: Site, quiet: Quiet, tmp_path: Path) -> None:
    spec = spec_from_site(site, "test")
    with simulated(site, tmp_path, nodes=spec.nodes[:1]) as proxmox:
        reported = {finding.rule for finding in faults(proxmox, site, quiet)}
    assert "pve2 is not a node of this Proxmox; its nodes: pve1" in reported


def test_a_host_that_is_off_is_reported(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    proxmox.app.faults.conditions.offline = {"pve2"}
    assert "pve2 is offline" in {finding.rule for finding in faults(proxmox, site, quiet)}


def test_a_cluster_without_quorum_is_reported(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    proxmox.app.faults.conditions.quorate = False
    (finding,) = faults(proxmox, site, quiet, root=True)
    assert (finding.subject, "pvecm status" in finding.remedy) == ("quorum", True)


def test_a_clock_that_is_off_is_reported(
    proxmox: Simulated, site: Site, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr("lab.proxmox.routes.nodes.time", type("Late", (), {"time": staticmethod(lambda: now() + 40)}))
    causes = [finding.rule for finding in faults(proxmox, site, quiet)]
    # Proxmox tells whole seconds, and asking takes time too.
    assert [re.sub(r"\b(39|40|41) s$", "40 s", cause) for cause in causes] == [
        "the clock of pve1 is off by 40 s",
        "the clock of pve2 is off by 40 s",
    ]


def test_a_mapping_that_is_missing_is_reported_with_the_command_that_makes_it(
    proxmox: Simulated, site: Site, quiet: Quiet
) -> None:
    proxmox.do("DELETE", "cluster/mapping/pci/lyceum-gpu-2")
    reported = [finding for finding in faults(proxmox, site, quiet) if finding.subject == "hardware"]
    assert len(reported) == 1
    assert reported[0].remedy.startswith("pvesh create /cluster/mapping/pci --id lyceum-gpu-2 --map id=10de:20f1")


def hosts_with(site: Site, **change: Any) -> Any:
    """The campus's nodes, the first of which has another first card."""
    first, *rest = spec_from_site(site, "test").nodes
    card, *others = first.pci
    return (replace(first, pci=(replace(card, **change), *others)), *rest)


def test_an_iommu_that_is_off_is_reported(site: Site, quiet: Quiet, tmp_path: Path) -> None:
    with simulated(site, tmp_path, nodes=hosts_with(site, iommu_group=-1)) as proxmox:
        causes = [finding.rule for finding in faults(proxmox, site, quiet, root=True)]
    assert any("needs an IOMMU group for 0000:41:00.0, and pve1 has none" in cause for cause in causes)


def test_a_card_that_is_not_alone_in_its_group_is_reported(site: Site, quiet: Quiet, tmp_path: Path) -> None:
    first, *rest = spec_from_site(site, "test").nodes
    lodger = replace(first.pci[0], address="0000:05:00.0", vendor="8086", device="1572", class_id="020000", name="X710")
    with simulated(site, tmp_path, nodes=(replace(first, pci=(*first.pci, lodger)), *rest)) as proxmox:
        (finding,) = faults(proxmox, site, quiet, root=True)
    assert "shares IOMMU group 41 of 0000:41:00.0 with 0000:05:00.0 (X710)" in finding.rule
    assert finding.remedy == "put the card into another slot"


def test_a_card_that_was_exchanged_is_reported_even_to_the_token(site: Site, quiet: Quiet, tmp_path: Path) -> None:
    """The token sees no hardware; Proxmox itself holds the mapping against it."""
    with simulated(site, tmp_path) as before:
        token = before.token
    assert token
    with simulated(site, tmp_path / "new", nodes=hosts_with(site, device="2684")) as proxmox:
        causes = [finding.rule for finding in faults(proxmox, site, quiet)]
    assert any("lyceum-gpu-1" in cause and "'id' does not match" in cause for cause in causes)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"content": ("rootdir",)}, "has no storage `local-lvm` that holds `images`"),
        ({"name": "zfs"}, "has no storage `local-lvm` that holds `images`"),
        ({"size_gib": 300}, "GiB free on `local-lvm`, and"),
    ],
)
def test_an_unsuitable_storage_is_reported(
    site: Site, quiet: Quiet, tmp_path: Path, change: dict[str, Any], cause: str
) -> None:
    first, *rest = spec_from_site(site, "test").nodes
    disks, *others = first.storages
    nodes = (replace(first, storages=(replace(disks, **change), *others)), *rest)
    with simulated(site, tmp_path, nodes=nodes) as proxmox:
        causes = [finding.rule for finding in faults(proxmox, site, quiet, root=True)]
    assert any(cause in text for text in causes), causes


def test_too_little_memory_is_reported(site: Site, quiet: Quiet, tmp_path: Path) -> None:
    first, *rest = spec_from_site(site, "test").nodes
    with simulated(site, tmp_path, nodes=(replace(first, memory_mib=64 * 1024), *rest)) as proxmox:
        (finding,) = faults(proxmox, site, quiet)
    assert finding.subject == "hardware"
    assert "of memory" in finding.rule


def test_a_vmid_of_somebody_else_is_reported_though_the_token_does_not_see_the_vm(
    proxmox: Simulated, site: Site, quiet: Quiet
) -> None:
    node = site.machines[0]
    proxmox.do("POST", "nodes/pve1/qemu", vmid=str(node.vm_id), name="theirs", memory="1024")
    (finding,) = faults(proxmox, site, quiet)
    assert finding.rule == f"{node.name}: VMID {node.vm_id} belongs to another VM"


def test_a_bridge_that_is_missing_is_reported_with_those_that_are_there(
    site: Site, quiet: Quiet, tmp_path: Path
) -> None:
    first, *rest = spec_from_site(site, "test").nodes
    with simulated(site, tmp_path, nodes=(replace(first, bridges=("vmbr9",)), *rest)) as proxmox:
        reported = [finding.rule for finding in faults(proxmox, site, quiet, root=True) if finding.subject == "bridge"]
    assert reported == ["pve1 has no bridge vmbr0; its bridges: vmbr9"]


def test_a_bridge_that_carries_no_vlan_is_reported(site: Site, quiet: Quiet, tmp_path: Path) -> None:
    tagged = site.model_copy(update={"network": site.network.model_copy(update={"vlan": 633})})
    with simulated(tagged, tmp_path) as proxmox:
        proxmox.app.faults.conditions.interfaces = {"pve2/vmbr0": {"bridge_vlan_aware": 0}}
        (finding,) = faults(proxmox, tagged, quiet)
    assert finding.rule == "vmbr0 of pve2 is not VLAN-aware, and the site uses VLAN 633"
    assert finding.remedy.startswith("pvesh set /nodes/pve2/network/vmbr0")


def test_a_bridge_that_is_down_is_reported(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    proxmox.app.faults.conditions.interfaces = {"pve1/vmbr0": {"active": 0}}
    (finding,) = faults(proxmox, site, quiet)
    assert finding.rule == "vmbr0 of pve1 is down"


def test_an_image_that_cannot_be_fetched_is_reported(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    proxmox.fetcher.size = 0
    found = faults(proxmox, site, quiet)
    assert [finding.subject for finding in found] == ["image", "image"]
    assert "404" in found[0].rule


def test_an_image_that_does_not_fit_is_reported(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    proxmox.app.faults.conditions.ballast = {"pve1/local": 200}
    (finding,) = faults(proxmox, site, quiet)
    assert finding.rule.startswith("local of pve1 has")


def test_an_address_that_is_taken_is_reported_with_whoever_has_it(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    """R35: an address collision bit them."""
    quiet.held = {"10.21.0.41": "the MAC address 00:11:22:33:44:55", "10.21.0.30": "something that answers on port 22"}
    assert {finding.rule for finding in faults(proxmox, site, quiet)} == {
        "10.21.0.41, meant for gpu-1, is answered by the MAC address 00:11:22:33:44:55",
        "10.21.0.30, meant for the Kubernetes API, is answered by something that answers on port 22",
    }


def test_an_address_of_a_machine_that_exists_may_answer(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    node = site.machines[0]
    options = {"name": node.name, "memory": "1024", "pool": "lyceum", "tags": "lab;lyceum;server", "cores": "4"}
    proxmox.api().call("POST", f"nodes/{node.host}/qemu", vmid=str(node.vm_id), **options)
    quiet.held = {str(node.address): "itself", str(site.network.api_address): "itself"}
    assert [finding for finding in faults(proxmox, site, quiet) if finding.subject == "addresses"] == []


def test_a_name_server_that_does_not_answer_is_reported(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    quiet.answers = None
    (finding,) = faults(proxmox, site, quiet)
    assert finding.rule == "the name server 10.21.0.1 does not answer"


@pytest.mark.parametrize(("answers", "said"), [([], "to "), (["10.9.9.9"], "to 10.9.9.9, not ")])
def test_a_name_that_does_not_lead_to_the_ingress_is_reported(
    proxmox: Simulated, site: Site, quiet: Quiet, answers: list[str], said: str
) -> None:
    quiet.answers = answers
    (finding,) = faults(proxmox, site, quiet)
    assert finding.rule == f"grafana.lab.lyceum.internal does not resolve {said}10.21.0.50 at 10.21.0.1"
    assert finding.remedy == "ask for the record `*.lab.lyceum.internal. A 10.21.0.50`"


def test_no_finding_shows_the_token(proxmox: Simulated, site: Site, quiet: Quiet) -> None:
    proxmox.app.faults.conditions.quorate = False
    secret = proxmox.token.rpartition("=")[2]
    assert not [finding for finding in run(proxmox, site, quiet) if secret in str(finding)]
