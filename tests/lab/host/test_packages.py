"""The lab's packages behave as apt and dpkg do, as far as an upgrade of a node can tell."""

import itertools

import pytest

from lab.contracts import VmSpec
from tests.lab.host.conftest import Lab

pytestmark = pytest.mark.lab

UPGRADE = "sudo apt-get -y upgrade --with-new-pkgs"
BIND = {"bind9-libs": {"version": "9.18.2", "installed": "9.18.1", "security": True}}
KERNEL = {"linux-image-6.1.0-40": {"version": "6.1.153-1", "reboot": True}}


NUMBERS = itertools.count(60)


@pytest.fixture
def vm(lab: Lab) -> VmSpec:
    """A fresh VM for each test."""
    return lab.boot(next(NUMBERS))


def offer(lab: Lab, vm: VmSpec, **packages: dict[str, object]) -> None:
    lab.ask("offer_packages", vmid=vm.vmid, packages=packages)
    lab.says(vm, "sudo apt-get update")


def test_what_the_archive_offers_is_known_after_an_update_and_installed_by_an_upgrade(lab: Lab, vm: VmSpec) -> None:
    assert "Inst" not in lab.says(vm, "apt-get -s upgrade"), "a fresh machine lacks nothing"
    lab.ask("offer_packages", vmid=vm.vmid, packages=BIND)
    assert "Inst" not in lab.says(vm, "apt-get -s upgrade"), "nobody has fetched the lists"
    lab.says(vm, "sudo apt-get update")

    line = "Inst bind9-libs [9.18.1] (9.18.2 Debian-Security:12/stable-security [amd64])"
    assert line in lab.says(vm, "apt-get -s upgrade")
    lab.says(vm, UPGRADE)
    assert "Inst" not in lab.says(vm, "apt-get -s upgrade")


def test_a_held_package_and_one_that_would_come_new_are_kept_back(lab: Lab, vm: VmSpec) -> None:
    offer(lab, vm, **BIND, **KERNEL)
    lab.says(vm, "sudo apt-mark hold bind9-libs")
    text = lab.says(vm, "apt-get -s upgrade")

    assert "kept back:\n  bind9-libs linux-image-6.1.0-40" in text
    assert "Inst" not in text
    assert "Inst linux-image-6.1.0-40 (6.1" in lab.says(vm, "apt-get -s upgrade --with-new-pkgs")


def test_a_package_asks_for_a_reboot_until_the_machine_has_rebooted(lab: Lab, vm: VmSpec) -> None:
    offer(lab, vm, **KERNEL)
    lab.says(vm, UPGRADE)
    assert lab.says(vm, "cat /run/reboot-required.pkgs") == "linux-image-6.1.0-40"

    lab.ask("power_fail", vmid=vm.vmid)
    lab.boot(vm.vmid - 1000)

    assert lab.says(vm, "ls /run").count("reboot-required") == 0
    assert "Inst" not in lab.says(vm, "apt-get -s upgrade --with-new-pkgs"), "the disk keeps what was installed"


def test_a_lock_is_reported_with_its_holder_and_waited_for_on_demand(lab: Lab, vm: VmSpec) -> None:
    offer(lab, vm, **BIND)
    lab.ask("hold_dpkg", vmid=vm.vmid, seconds=600)
    refused = lab.ssh(vm, UPGRADE)

    assert refused.returncode == 100
    assert "Could not get lock /var/lib/dpkg/lock-frontend. It is held by process" in refused.stderr
    assert "(unattended-upgr)" in refused.stderr
    let_go = "(sleep 1; sudo systemctl stop lab-unattended) >/dev/null 2>&1 &"
    lab.says(vm, f"{let_go} {UPGRADE} -o DPkg::Lock::Timeout=60")


def test_a_package_that_fails_stays_half_configured_until_it_is_mended(lab: Lab, vm: VmSpec) -> None:
    broken = {**BIND["bind9-libs"], "fails": "no space"}
    offer(lab, vm, **{"bind9-libs": broken})
    failed = lab.ssh(vm, UPGRADE)

    assert (failed.returncode, "E: Sub-process /usr/bin/dpkg returned an error code (1)" in failed.stderr) == (
        100,
        True,
    )
    assert "bind9-libs" in lab.says(vm, "dpkg --audit")
    offer(lab, vm, **BIND)
    lab.says(vm, "sudo dpkg --configure -a")
    assert lab.says(vm, "dpkg --audit") == ""


def test_a_power_failure_while_packages_are_unpacked_leaves_dpkg_interrupted(lab: Lab, vm: VmSpec) -> None:
    offer(lab, vm, **{"bind9-libs": {**BIND["bind9-libs"], "seconds": 60}})
    lab.says(vm, f"{UPGRADE} >/dev/null 2>&1 & until grep -q unpacked /var/lib/dpkg/lab.json; do sleep 0.1; done")
    lab.ask("power_fail", vmid=vm.vmid)
    lab.boot(vm.vmid - 1000)

    refused = lab.ssh(vm, UPGRADE)
    assert (refused.returncode, "dpkg was interrupted" in refused.stderr) == (100, True)
    lab.says(vm, "sudo dpkg --configure -a")
    lab.says(vm, UPGRADE)


def test_what_the_lab_does_not_know_is_no_silent_success(lab: Lab, vm: VmSpec) -> None:
    refused = lab.ssh(vm, "sudo apt-get -y dist-upgrade")

    assert refused.returncode == 100
    assert "knows update and upgrade, and not dist-upgrade" in refused.stderr


def test_debians_image_upgrades_itself_until_it_is_told_not_to(lab: Lab, vm: VmSpec) -> None:
    ask = "apt-config dump APT::Periodic::Unattended-Upgrade"
    assert lab.says(vm, ask) == 'APT::Periodic::Unattended-Upgrade "1";'
    lab.says(vm, "echo 'APT::Periodic::Unattended-Upgrade \"0\";' | sudo tee /etc/apt/apt.conf.d/90-own")

    assert lab.says(vm, ask) == 'APT::Periodic::Unattended-Upgrade "0";'
