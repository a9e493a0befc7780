"""Packages of a node: what is read, and what the scripts really do (fault matrix S5)."""

import re
from pathlib import Path

import pytest

from ops.upgrade.os_packages import NodePackages, PendingPackage, notes, package_script, parse_survey
from tests.support.machine import LOG, Machine

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
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.stub("apt-get", APT)
    machine.stub("dpkg", DPKG)
    machine.stub("apt-mark", 'cat "$LYCEUM_TEST/held" 2>/dev/null || true\n')
    machine.stub("apt-config", 'cat "$LYCEUM_TEST/config" 2>/dev/null || true\n')
    machine.stub("unattended-upgrade", "")
    machine.stub("find", "exit 1\n")  # a machine without /boot
    return machine


def surveyed(machine: Machine) -> NodePackages:
    done = machine.run(package_script("survey"))
    assert done.code == 0, done.told
    return parse_survey(done.out)


def test_a_machine_that_lacks_nothing_has_nothing_due(machine: Machine) -> None:
    assert surveyed(machine) == NodePackages()
    assert not surveyed(machine).needs_upgrade


def test_what_a_machine_lacks_is_read(machine: Machine) -> None:
    machine.say("pending", SIMULATED)
    machine.say("held", "containerd\n")
    machine.say("config", 'APT::Periodic::Unattended-Upgrade "1";\n')
    machine.write("/run/reboot-required", "")
    machine.write("/run/reboot-required.pkgs", "libc6\nlibc6\n")
    found = surveyed(machine)

    assert found == NodePackages((LIBC, IMAGE), held=("containerd",), reboot=("libc6",), unattended=True)
    assert (found.security_count, found.driver_packages, found.will_reboot) == (
        1,
        ("linux-image-6.1.0-40-amd64",),
        True,
    )


def test_a_kernel_that_waits_for_its_boot_is_a_reason_without_a_file(machine: Machine) -> None:
    """Debian without unattended-upgrades writes no /run/reboot-required."""
    machine.stub("find", "echo vmlinuz-6.1.0-9-amd64; echo vmlinuz-6.1.0-40-amd64\n")
    machine.stub("uname", "echo 6.1.0-9-amd64\n")

    assert surveyed(machine).reboot == ("kernel 6.1.0-40-amd64",)


def test_while_somebody_holds_the_lock_a_survey_tells_old_lists(machine: Machine) -> None:
    machine.say("locked", "once\n")
    machine.say("pending", SIMULATED)
    found = surveyed(machine)

    assert "held by process 812 (unattended-upgr)" in found.stale
    assert found.pending == (LIBC, IMAGE)


def test_a_lock_is_waited_for_and_its_holder_named(machine: Machine) -> None:
    machine.say("locked", "once\ntwice\n")
    done = machine.run(package_script("upgrade_packages 600"))

    assert done.code == 0, done.told
    assert re.search(r"waiting for dpkg's lock, held by process 812 \(unattended-upgr\): \d+ s of 600 s", done.told)


def test_a_lock_that_is_never_given_up_is_told_with_its_holder(machine: Machine) -> None:
    machine.say("locked", "once\ntwice\n")
    done = machine.run(package_script("upgrade_packages 0"))

    assert done.code == 1
    assert "dpkg's lock is still held by process 812 (unattended-upgr)" in done.told


def test_configuration_files_are_kept_and_no_package_is_removed(machine: Machine) -> None:
    machine.run(package_script("upgrade_packages 600"))
    (call,) = machine.called("apt-get")

    assert "--force-confdef -o Dpkg::Options::=--force-confold" in call
    assert call.endswith("upgrade --with-new-pkgs")


def test_an_upgrade_that_was_cut_is_ended_before_another_begins(machine: Machine) -> None:
    machine.say("unfinished", "The following packages are only half configured:\n libc6                GNU C Library\n")
    assert surveyed(machine).unfinished == ("libc6",)
    machine.forget()
    machine.run(package_script("upgrade_packages 600"))

    assert [line.split()[-1] for line in machine.log] == ["--audit", "-a", "--with-new-pkgs"]


def test_a_package_that_fails_is_told_in_its_own_words(machine: Machine) -> None:
    machine.say(
        "fails", "Setting up bind9 ...\nbind9: disk full\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n"
    )
    done = machine.run(package_script("upgrade_packages 600"))

    assert done.code == 1
    assert "packages could not be installed: bind9: disk full;E: Sub-process" in done.told


def test_a_machine_reboots_only_where_something_asks_for_it(machine: Machine) -> None:
    assert machine.run(package_script("reboot_due")).out == ""
    assert machine.run(package_script("booted_anew")).code == 0
    assert machine.called("systemctl") == []
    machine.write("/run/reboot-required", "")
    assert machine.run(package_script("reboot_due")).out == "its packages\n"
    assert machine.called("systemctl") == [], "the answer must be on its way before the machine goes down"


def test_a_machine_is_told_to_reboot_until_it_has_been_booted_anew(machine: Machine) -> None:
    """Whoever tells it may be killed at any moment, and the word may go down with the connection."""
    machine.write("/run/reboot-required", "")
    machine.run(package_script("reboot_due"))

    assert [machine.run(package_script("booted_anew")).code for _ in range(2)] == [1, 1]
    assert machine.called("systemctl") == ["systemctl reboot"] * 2
    machine.path("/run/lyceum-rebooting").unlink()
    assert machine.run(package_script("booted_anew")).code == 0


def told(*, precompiled: bool = False, **found: NodePackages) -> str:
    return "\n".join(notes(found, precompiled=precompiled, gpu_nodes=frozenset({"gpu"})))


def test_nodes_that_upgrade_themselves_are_named_with_the_remedy() -> None:
    assert "gpu upgrade themselves whenever they like" in told(gpu=NodePackages(unattended=True))


@pytest.mark.parametrize(
    ("precompiled", "words"),
    [(True, "a precompiled driver must exist for the new kernel"), (False, "driver is built anew for it")],
)
def test_a_new_kernel_under_a_gpu_is_told_with_what_it_means_for_the_driver(precompiled: bool, words: str) -> None:
    assert words in told(precompiled=precompiled, gpu=NodePackages((IMAGE,)))
    assert told(precompiled=precompiled, server=NodePackages((IMAGE,))) == "", "a node without a GPU has no driver"
