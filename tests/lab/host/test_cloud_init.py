"""What cloud-init makes of a VM's settings."""

import pytest

from lab.contracts import Nic
from lab.host.cloud_init import UserDataError, instance_id, ip_batch, passwd_lines, setup
from tests.lab.host.vms import vm

CUSTOM = """\
#cloud-config
fqdn: gpu-9.campus.example
ssh_authorized_keys: [ssh-ed25519 SHARED]
users:
  - default
  - {name: ada, sudo: "ALL=(ALL) NOPASSWD:ALL", groups: "adm, sudo", ssh_authorized_keys: [ssh-ed25519 ADA]}
write_files:
  - {path: /etc/a, content: aGVsbG8=, encoding: b64, permissions: "0600", owner: "ada:ada"}
runcmd:
  - echo plain
  - [echo, "two words"]
ntp: {enabled: true}
"""


def test_native_settings_make_one_user_with_keys_and_passwordless_sudo() -> None:
    made = setup(vm())
    (user,) = made.users
    assert (user.name, user.keys) == ("lyceum", ("ssh-ed25519 AAAA lyceum",))
    assert user.sudo == ("ALL=(ALL) NOPASSWD:ALL",)


def test_native_settings_name_the_machine_and_its_name_servers() -> None:
    files = {file.path: file.content.decode() for file in setup(vm()).files}
    assert files["/etc/hostname"] == "vm-1\n"
    assert "127.0.1.1 vm-1.lab.example vm-1\n" in files["/etc/hosts"], "sudo asks for its own name at every call"
    assert files["/etc/resolv.conf"] == "search lab.example\nnameserver 10.21.0.1\n"


def test_custom_user_data_replaces_the_generated_one_as_in_proxmox() -> None:
    made = setup(vm(custom_user_data=CUSTOM))
    assert [(user.name, user.keys) for user in made.users] == [
        ("lyceum", ("ssh-ed25519 SHARED",)),
        ("ada", ("ssh-ed25519 ADA",)),
    ], "the VM's own keys are not in custom user data, so they do not count"
    assert made.users[1].groups == ("adm", "sudo")


def test_custom_user_data_writes_files_and_runs_commands() -> None:
    made = setup(vm(custom_user_data=CUSTOM))
    file = next(file for file in made.files if file.path == "/etc/a")
    assert (file.content, file.mode, file.owner) == (b"hello", 0o600, "ada")
    assert made.runcmd == ("echo plain", "echo 'two words'")


def test_keys_without_effect_in_the_lab_are_named() -> None:
    assert setup(vm(custom_user_data=CUSTOM)).ignored == ("ntp",)


def test_a_script_as_user_data_is_refused() -> None:
    with pytest.raises(UserDataError, match="#cloud-config"):
        setup(vm(custom_user_data="#!/bin/sh\ntrue\n"))


def test_changed_settings_are_a_new_instance_and_changed_hardware_is_not() -> None:
    assert instance_id(vm()) == instance_id(vm(memory_mib=16384, gpus=()))
    assert instance_id(vm()) != instance_id(vm(ssh_keys=("ssh-ed25519 BBBB",)))


def test_accounts_cannot_be_logged_in_to_by_password_but_are_not_locked() -> None:
    _, shadow, _ = passwd_lines(setup(vm()).users)
    assert shadow.startswith("lyceum:*:"), "sshd refuses keys of an account that is locked with `!`"


def test_the_network_is_static_with_its_gateway() -> None:
    cards = (*vm().nics, Nic("02:00:00:00:00:01", "vmbr1", None, None, None))
    assert ip_batch(vm(nics=cards)).splitlines() == [
        "link set lo up",
        "address add 10.21.1.1/16 dev eth0",
        "link set eth0 up",
        "route replace default via 10.21.0.1 dev eth0 metric 100",
        "link set eth1 up",
    ]
