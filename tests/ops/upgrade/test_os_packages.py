"""Packages of a node: how the survey is parsed, and what the scripts do (fault matrix S5)."""

import re
from pathlib import Path

import pytest

from ops.upgrade.os_packages import NodePackages, PendingPackage, find_warnings, package_script, parse_survey
from tests.support.machine import LOG, FakeMachine

APT = (
    LOG
    + """
state=$LYCEUM_TEST
if [[ -s $state/locked ]]; then
    sed -i 1d "$state/locked"
    echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)' >&2
    exit 100
fi
case $* in
*-s\\ upgrade*) cat "$state/pending" 2>/dev/null || true ;;
*upgrade*) [[ ! -e $state/fails ]] || { cat "$state/fails" >&2; exit 100; } ;;
esac
"""
)
DPKG = (
    LOG
    + """
case $* in
--audit) cat "$LYCEUM_TEST/unfinished" 2>/dev/null ;;
*) rm -f "$LYCEUM_TEST/unfinished" ;;
esac
exit 0
"""
)
SIMULATED = """\
NOTE: This is only a simulation!
Inst libc6 [2.36-9] (2.36-9+deb12u1 Debian:12.15/stable, Debian-Security:12/stable-security [amd64]) []
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian:12.15/stable [amd64])
Conf libc6 (2.36-9+deb12u1 Debian:12.15/stable [amd64])
"""
LIBC = PendingPackage("libc6", "2.36-9", "2.36-9+deb12u1", security=True)
IMAGE = PendingPackage("linux-image-6.1.0-40-amd64", "", "6.1.153-1", security=False)


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    machine = FakeMachine(tmp_path)
    machine.stub("apt-get", APT)
    machine.stub("dpkg", DPKG)
    machine.stub("apt-mark", 'cat "$LYCEUM_TEST/held" 2>/dev/null || true\n')
    machine.stub("apt-config", 'cat "$LYCEUM_TEST/config" 2>/dev/null || true\n')
    machine.stub("unattended-upgrade", "")
    machine.stub("find", "exit 1\n")  # a machine without /boot
    return machine


def run_survey(machine: FakeMachine) -> NodePackages:
    done = machine.run(package_script("survey"))
    assert done.code == 0, done.stderr
    return parse_survey(done.stdout)


def test_an_up_to_date_machine_needs_no_upgrade(machine: FakeMachine) -> None:
    assert run_survey(machine) == NodePackages()
    assert not run_survey(machine).needs_upgrade


def test_pending_packages_are_read(machine: FakeMachine) -> None:
    machine.set_state("pending", SIMULATED)
    machine.set_state("held", "containerd\n")
    machine.set_state("config", 'APT::Periodic::Unattended-Upgrade "1";\n')
    machine.write("/run/reboot-required", "")
    machine.write("/run/reboot-required.pkgs", "libc6\nlibc6\n")
    packages = run_survey(machine)

    assert packages == NodePackages((LIBC, IMAGE), held=("containerd",), reboot=("libc6",), unattended=True)
    assert (packages.security_count, packages.driver_packages, packages.will_reboot) == (
        1,
        ("linux-image-6.1.0-40-amd64",),
        True,
    )


def test_a_newer_installed_kernel_requires_a_reboot_without_a_file(machine: FakeMachine) -> None:
    """Debian without unattended-upgrades writes no /run/reboot-required."""
    machine.stub("find", "echo vmlinuz-6.1.0-9-amd64; echo vmlinuz-6.1.0-40-amd64\n")
    machine.stub("uname", "echo 6.1.0-9-amd64\n")

    assert run_survey(machine).reboot == ("kernel 6.1.0-40-amd64",)


def test_while_dpkg_is_locked_a_survey_reports_stale_lists(machine: FakeMachine) -> None:
    machine.set_state("locked", "once\n")
    machine.set_state("pending", SIMULATED)
    packages = run_survey(machine)

    assert "held by process 812 (unattended-upgr)" in packages.stale
    assert packages.pending == (LIBC, IMAGE)


def test_a_lock_is_waited_for_and_its_holder_reported(machine: FakeMachine) -> None:
    machine.set_state("locked", "once\ntwice\n")
    done = machine.run(package_script("upgrade_packages 600"))

    assert done.code == 0, done.stderr
    assert re.search(r"waiting for dpkg's lock, held by process 812 \(unattended-upgr\): \d+ s of 600 s", done.stderr)


def test_a_lock_that_is_not_released_is_reported_with_its_holder(machine: FakeMachine) -> None:
    machine.set_state("locked", "once\ntwice\n")
    done = machine.run(package_script("upgrade_packages 0"))

    assert done.code == 1
    assert "dpkg's lock is still held by process 812 (unattended-upgr)" in done.stderr


def test_configuration_files_are_kept_and_no_package_is_removed(machine: FakeMachine) -> None:
    machine.run(package_script("upgrade_packages 600"))
    (call,) = machine.calls_of("apt-get")

    assert "--force-confdef -o Dpkg::Options::=--force-confold" in call
    assert call.endswith("upgrade --with-new-pkgs")


def test_an_interrupted_upgrade_is_finished_before_the_next(machine: FakeMachine) -> None:
    machine.set_state(
        "unfinished", "The following packages are only half configured:\n libc6                GNU C Library\n"
    )
    assert run_survey(machine).unfinished == ("libc6",)
    machine.clear_log()
    machine.run(package_script("upgrade_packages 600"))

    assert [line.split()[-1] for line in machine.log] == ["--audit", "-a", "--with-new-pkgs"]


def test_a_failing_package_is_reported_with_its_own_output(machine: FakeMachine) -> None:
    machine.set_state(
        "fails", "Setting up bind9 ...\nbind9: disk full\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    done = machine.run(package_script("upgrade_packages 600"))

    assert done.code == 1
    assert "packages could not be installed: bind9: disk full;E: Sub-process" in done.stderr


def test_a_machine_reboots_only_if_something_requires_it(machine: FakeMachine) -> None:
    assert machine.run(package_script("request_reboot")).stdout == ""
    assert machine.run(package_script("check_booted")).code == 0
    assert machine.calls_of("systemctl") == []
    machine.write("/run/reboot-required", "")
    assert machine.run(package_script("request_reboot")).stdout == "its packages\n"
    assert machine.calls_of("systemctl") == [], "the answer must be sent before the machine goes down"


def test_the_reboot_is_requested_until_the_machine_has_booted(machine: FakeMachine) -> None:
    """The caller may be killed at any moment, and the command may be lost with the connection."""
    machine.write("/run/reboot-required", "")
    machine.run(package_script("request_reboot"))

    assert [machine.run(package_script("check_booted")).code for _ in range(2)] == [1, 1]
    assert machine.calls_of("systemctl") == ["systemctl reboot"] * 2
    machine.path("/run/lyceum-rebooting").unlink()
    assert machine.run(package_script("check_booted")).code == 0


def warnings(*, precompiled: bool = False, **packages: NodePackages) -> str:
    return "\n".join(find_warnings(packages, precompiled=precompiled, gpu_nodes=frozenset({"gpu"})))


def test_nodes_with_unattended_upgrades_are_listed_with_the_remedy() -> None:
    assert "gpu upgrade themselves (APT" in warnings(gpu=NodePackages(unattended=True))


@pytest.mark.parametrize(
    ("precompiled", "expected"),
    [(True, "a precompiled driver must exist for the new kernel"), (False, "the operator rebuilds its driver for it")],
)
def test_a_new_kernel_on_a_gpu_node_is_reported_with_its_effect_on_the_driver(precompiled: bool, expected: str) -> None:
    assert expected in warnings(precompiled=precompiled, gpu=NodePackages((IMAGE,)))
    assert warnings(precompiled=precompiled, server=NodePackages((IMAGE,))) == "", "a node without a GPU has no driver"
