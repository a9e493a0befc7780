"""What cloud-init makes of a VM's settings."""

from lab.contracts import Nic
from lab.host.cloud_init import account_lines, instance_id, ip_batch, system_files
from tests.lab.host.vms import vm


def test_native_settings_name_the_machine_and_its_name_servers() -> None:
    files = {file.path: file.content.decode() for file in system_files(vm())}
    assert files["/etc/hostname"] == "vm-1\n"
    assert "127.0.1.1 vm-1.lab.example vm-1\n" in files["/etc/hosts"], "sudo asks for its own name at every call"
    assert files["/etc/resolv.conf"] == "search lab.example\nnameserver 10.21.0.1\n"


def test_changed_settings_are_a_new_instance_and_changed_hardware_is_not() -> None:
    assert instance_id(vm()) == instance_id(vm(memory_mib=16384, gpus=()))
    assert instance_id(vm()) != instance_id(vm(ssh_keys=("ssh-ed25519 BBBB",)))


def test_accounts_cannot_be_logged_in_to_by_password_but_are_not_locked() -> None:
    _, shadow, _ = account_lines("lyceum", 1000)
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
