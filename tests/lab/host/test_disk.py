"""What stands on a VM's disk before it boots."""

import os
import stat
from pathlib import Path

import pytest

from lab.contracts import HostFailed
from lab.host.disk import GIB, HOST_KEY, VmDisk, map_data_disks, prepare_disk
from tests.lab.host.vms import vm


@pytest.fixture
def image(tmp_path: Path) -> Path:
    etc = tmp_path / "image/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (etc / "shadow").write_text("root:*:19000:0:99999:7:::\n")
    (etc / "group").write_text("root:x:0:\nsudo:x:27:\nadm:x:4:\n")
    (tmp_path / "image/home").mkdir()
    return tmp_path / "image"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VmDisk:
    owners: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, _gid: owners.append((Path(path).name, uid)))
    directory = tmp_path / "1001"
    directory.mkdir()
    return VmDisk(directory)


def test_the_user_and_its_key_are_there_before_the_first_boot(disk: VmDisk, image: Path) -> None:
    assert prepare_disk(disk, vm(), image)
    keys = disk.place("/home/lyceum/.ssh/authorized_keys")
    assert keys.read_text() == "ssh-ed25519 AAAA lyceum\n"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600, "sshd ignores keys that others may write"
    assert "lyceum:x:1000:1000" in disk.place("/etc/passwd").read_text()
    assert disk.place("/etc/sudoers.d/90-cloud-init-users").read_text() == "lyceum ALL=(ALL) NOPASSWD:ALL\n"
    assert "sudo:x:27:lyceum\n" in disk.place("/etc/group").read_text()


def test_a_second_boot_of_the_same_instance_touches_nothing(disk: VmDisk, image: Path) -> None:
    prepare_disk(disk, vm(), image)
    disk.place("/etc/hostname").write_text("renamed by its owner\n")
    assert not prepare_disk(disk, vm(), image)
    assert disk.place("/etc/hostname").read_text() == "renamed by its owner\n"


def test_new_settings_reach_the_disk_and_the_host_key_stays(disk: VmDisk, image: Path) -> None:
    prepare_disk(disk, vm(), image)
    pinned = disk.place(f"{HOST_KEY}.pub").read_text()
    assert prepare_disk(disk, vm(ssh_keys=("ssh-ed25519 BBBB",)), image)
    assert disk.place("/home/lyceum/.ssh/authorized_keys").read_text() == "ssh-ed25519 BBBB\n"
    assert disk.place(f"{HOST_KEY}.pub").read_text() == pinned
    assert disk.place("/etc/passwd").read_text().count("\nlyceum:") == 1


def test_a_user_added_later_gets_an_id_that_nobody_has(disk: VmDisk, image: Path) -> None:
    prepare_disk(disk, vm(), image)
    prepare_disk(disk, vm(user="ada"), image)
    assert "\nada:x:1001:1001:" in disk.place("/etc/passwd").read_text()


def test_every_vm_gets_a_host_key_of_its_own(tmp_path: Path, disk: VmDisk, image: Path) -> None:
    other = VmDisk(tmp_path / "1002")
    for one in (disk, other):
        prepare_disk(one, vm(), image)
    assert disk.place(HOST_KEY).read_bytes() != other.place(HOST_KEY).read_bytes()


def test_links_that_a_guest_left_do_not_lead_out_of_its_disk(disk: VmDisk, image: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    upper = disk.directory / "upper"
    upper.mkdir()
    (upper / "etc").symlink_to(outside)
    with pytest.raises(HostFailed, match="/etc is a link"):
        prepare_disk(disk, vm(), image)
    assert list(outside.iterdir()) == []


def test_a_file_that_was_replaced_by_a_link_is_written_again(disk: VmDisk, image: Path, tmp_path: Path) -> None:
    prepare_disk(disk, vm(), image)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    disk.place("/etc/hostname").unlink()
    disk.place("/etc/hostname").symlink_to(precious)
    prepare_disk(disk, vm(name="renamed"), image)
    assert precious.read_text() == "mine"


def test_files_below_usr_go_to_its_own_layer(disk: VmDisk) -> None:
    assert disk.place("/usr/local/bin/x") == disk.directory / "usr-upper/local/bin/x"


def test_data_disks_are_sparse_files_with_the_names_that_udev_gives(disk: VmDisk) -> None:
    (disk.directory / "disks").mkdir()
    binds, links = map_data_disks(disk, vm())
    ((source, device, read_only),) = binds
    assert (device, read_only) == ("/dev/sdb", False)
    assert links == (("../../sdb", "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_ceph-1"),)
    assert Path(source).stat().st_size == 20 * GIB
    assert Path(source).stat().st_blocks == 0, "a disk costs nothing until it is written"
