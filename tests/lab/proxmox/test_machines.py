"""A VM's life through the API: made, changed, switched, removed."""

from typing import Any

import pytest

from lab.proxmox.state import Volume
from tests.lab.proxmox.campus import Campus, Refused, image_call

pytestmark = pytest.mark.anyio

QEMU = "nodes/pve1/qemu"
GPU_VM: dict[str, Any] = {
    "bios": "ovmf",
    "machine": "q35",
    "cpu": "host",
    "cores": "8",
    "memory": "16384",
    "balloon": "0",
    "agent": "enabled=1,fstrim_cloned_disks=0,type=virtio",
    "boot": "order=scsi0",
    "scsihw": "virtio-scsi-single",
    "efidisk0": "file=local-lvm:1,format=raw,efitype=4m,pre-enrolled-keys=0",
    "scsi0": "file=local-lvm:0,import-from=local:import/debian-13.qcow2,format=raw,iothread=1,discard=on",
    "ide2": "file=local-lvm:cloudinit",
    "hostpci0": "mapping=a100-0,pcie=1,rombar=1",
    "net0": "model=virtio,bridge=vmbr0,macaddr=00:16:3e:63:79:29",
    "ipconfig0": "gw=10.21.0.1,ip=10.21.0.38/16",
    "ciuser": "lyceum",
    "sshkeys": "ssh-ed25519%20AAAA%20one%0Assh-ed25519%20BBBB%20two%0A",
    "nameserver": "10.21.0.2 10.21.0.3",
    "searchdomain": "lab.example",
    "tags": "lyceum;Alpha;gpu",
    "onboot": "1",
}


async def with_image(campus: Campus) -> None:
    assert await campus.token.task("POST", "nodes/pve1/storage/local/download-url", **image_call()) == "OK"


async def test_a_created_vm_reads_back_normalised(campus: Campus) -> None:
    """The provider compares what it reads with what it sent; every other spelling is a change in every plan."""
    await with_image(campus)
    await campus.token.vm(**GPU_VM)

    config = await campus.token.get(f"{QEMU}/100/config")

    assert config["scsi0"] == "local-lvm:vm-100-disk-1,discard=on,iothread=1,size=3G"
    assert config["efidisk0"] == "local-lvm:vm-100-disk-0,efitype=4m,pre-enrolled-keys=0,size=4M"
    assert config["ide2"] == "local-lvm:vm-100-cloudinit,media=cdrom,size=4M"
    assert config["net0"] == "virtio=00:16:3E:63:79:29,bridge=vmbr0"
    assert config["tags"] == "alpha;gpu;lyceum"
    assert config["cores"] == 8, "the provider panics unless counts are numbers"
    assert config["onboot"] == 1, "and reads a quoted 1 as false"
    assert config["memory"] == "16384"


async def test_a_started_vm_reaches_the_hypervisor_with_everything_its_guest_needs(campus: Campus) -> None:
    await with_image(campus)
    await campus.token.vm(**GPU_VM)

    assert await campus.token.task("PUT", f"{QEMU}/100/resize", disk="scsi0", size="500G") == "OK"
    assert await campus.token.task("POST", f"{QEMU}/100/status/start") == "OK"

    machine = campus.hypervisor.machines[100]
    assert (machine.name, machine.node, machine.cores, machine.memory_mib) == ("vm100", "pve1", 8, 16384)
    assert [gpu.address for gpu in machine.gpus] == ["0000:41:00.0"]
    nic = machine.nics[0]
    assert (nic.mac, nic.bridge, nic.address, nic.gateway) == (
        "00:16:3e:63:79:29",
        "vmbr0",
        "10.21.0.38/16",
        "10.21.0.1",
    )
    assert machine.ssh_keys == ("ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two")
    assert (machine.user, machine.dns, machine.search) == ("lyceum", ("10.21.0.2", "10.21.0.3"), "lab.example")
    assert [(disk.interface, disk.size_gib, disk.boot) for disk in machine.disks] == [("scsi0", 500, True)]
    assert machine.agent
    status = await campus.token.get(f"{QEMU}/100/status/current")
    assert status["status"] == "running"


async def test_shutdown_is_gentle_and_stop_is_not(campus: Campus) -> None:
    await campus.token.vm()
    for action in ("start", "shutdown", "start", "stop"):
        assert await campus.token.task("POST", f"{QEMU}/100/status/{action}") == "OK"

    assert campus.hypervisor.events == ["start 100", "stop 100", "start 100", "kill 100"]


async def test_memory_changes_wait_for_a_restart_and_tags_do_not(campus: Campus) -> None:
    await campus.token.vm()
    await campus.token.task("POST", f"{QEMU}/100/status/start")

    await campus.token.put(f"{QEMU}/100/config", memory="8192", tags="a")

    current = await campus.token.get(f"{QEMU}/100/config", current=1)
    assert current["memory"] == "4096", "the running machine keeps its memory"
    assert current["tags"] == "a"
    assert (await campus.token.get(f"{QEMU}/100/config"))["memory"] == "8192", "and the next start gets what is pending"
    await campus.token.task("POST", f"{QEMU}/100/status/reboot")
    assert campus.hypervisor.machines[100].memory_mib == 8192


async def test_a_disk_grows_while_the_machine_runs_and_never_shrinks(campus: Campus) -> None:
    await campus.token.vm(scsi0="local-lvm:32")
    await campus.token.task("POST", f"{QEMU}/100/status/start")

    assert await campus.token.task("PUT", f"{QEMU}/100/resize", disk="scsi0", size="42949672960") == "OK"
    assert (await campus.token.get(f"{QEMU}/100/config"))["scsi0"] == "local-lvm:vm-100-disk-0,size=40G"
    shrink = await campus.token.task("PUT", f"{QEMU}/100/resize", disk="scsi0", size="32G")
    assert shrink == "shrinking disks is not supported"


async def test_a_removed_disk_stays_as_unused_until_it_is_removed_again(campus: Campus) -> None:
    await campus.token.vm(scsi0="local-lvm:32", scsi1="local-lvm:100")

    await campus.token.put(f"{QEMU}/100/config", delete="scsi1")

    config = await campus.token.get(f"{QEMU}/100/config")
    assert config["unused0"] == "local-lvm:vm-100-disk-1"
    await campus.token.put(f"{QEMU}/100/config", delete="unused0")
    assert "pve1/local-lvm:vm-100-disk-1" not in campus.px.cluster.state.volumes


async def test_an_unused_disk_that_is_attached_again_is_unused_no_longer(campus: Campus) -> None:
    await campus.token.vm(scsi1="local-lvm:100")
    await campus.token.put(f"{QEMU}/100/config", delete="scsi1")

    await campus.token.put(f"{QEMU}/100/config", scsi5="local-lvm:vm-100-disk-0,ssd=1")

    config = await campus.token.get(f"{QEMU}/100/config")
    assert config["scsi5"] == "local-lvm:vm-100-disk-0,ssd=1,size=100G"
    assert "unused0" not in config


async def test_a_change_that_is_refused_half_way_changes_nothing(campus: Campus) -> None:
    await campus.token.vm(tags="before")
    with pytest.raises(Refused, match="does not exist"):
        await campus.token.put(
            f"{QEMU}/100/config", tags="after", scsi1="local-lvm:8", scsi2="local-lvm:0,import-from=local:import/x.raw"
        )
    assert (await campus.token.get(f"{QEMU}/100/config"))["tags"] == "before"
    assert campus.px.cluster.state.volumes == {}, "the disk made before the refusal is gone again"


@pytest.mark.parametrize(("flag", "left"), [("1", []), ("0", ["pve1/local-lvm:vm-100-disk-7"])])
async def test_disks_that_no_configuration_names_go_only_when_asked_for(
    campus: Campus, flag: str, left: list[str]
) -> None:
    """The provider asks for it by default; Lyceum does not, for they may hold data."""
    await campus.token.vm(scsi0="local-lvm:8")
    stray = Volume(content="images", format="raw", size=1, written=1, vmid=100)
    campus.px.cluster.state.volumes["pve1/local-lvm:vm-100-disk-7"] = stray

    await campus.token.task("DELETE", f"{QEMU}/100", destroy__unreferenced__disks=flag)

    assert list(campus.px.cluster.state.volumes) == left


async def test_a_destroyed_vm_leaves_nothing(campus: Campus) -> None:
    await campus.token.vm(scsi0="local-lvm:32", ide2="local-lvm:cloudinit")

    assert await campus.token.task("DELETE", f"{QEMU}/100/", purge=1, destroy__unreferenced__disks=1) == "OK"

    state = campus.px.cluster.state
    assert (state.vms, state.volumes, state.pools["lyceum"].vms) == ({}, {}, [])
    assert campus.hypervisor.events == ["delete 100"]


async def test_a_running_vm_is_not_destroyed(campus: Campus) -> None:
    await campus.token.vm()
    await campus.token.task("POST", f"{QEMU}/100/status/start")

    with pytest.raises(Refused, match="500 VM 100 is running - destroy failed"):
        await campus.token.delete(f"{QEMU}/100")


async def test_a_protected_vm_keeps_itself_and_its_disks(campus: Campus) -> None:
    await campus.token.vm(scsi0="local-lvm:32", protection=1)

    with pytest.raises(Refused, match="can't remove VM 100 - protection mode enabled"):
        await campus.token.delete(f"{QEMU}/100")
    with pytest.raises(Refused, match="can't remove drive 'scsi0' - protection mode enabled"):
        await campus.token.put(f"{QEMU}/100/config", delete="scsi0")


async def test_a_number_is_taken_once(campus: Campus) -> None:
    await campus.token.vm()
    with pytest.raises(Refused, match="unable to create VM 100 - VM 100 already exists on node 'pve1'"):
        await campus.token.post("nodes/pve2/qemu", vmid=100, pool="lyceum")


async def test_a_creation_that_fails_leaves_no_half_vm(campus: Campus) -> None:
    exit_status = await campus.token.task(
        "POST",
        QEMU,
        vmid=100,
        pool="lyceum",
        scsi0="local-lvm:10",
        scsi1="local-lvm:0,import-from=local:import/missing.qcow2",
    )

    assert exit_status == "unable to create VM 100 - volume 'local:import/missing.qcow2' does not exist"
    assert campus.px.cluster.state.vms == {}
    assert campus.px.cluster.state.volumes == {}, "the first disk must not stay behind"


async def test_the_default_cdrom_of_the_provider_stops_a_q35_machine(campus: Campus) -> None:
    """Pulumi's bridge adds ide3 unless told otherwise; q35 has no such unit (bpg issue 420)."""
    await campus.token.vm(machine="q35", ide3="none,media=cdrom")
    assert "Can't create IDE unit 3" in await campus.token.task("POST", f"{QEMU}/100/status/start")


async def test_a_gpu_in_use_is_refused_and_the_error_names_its_holder(campus: Campus) -> None:
    for vmid in (100, 101):
        await campus.token.vm(vmid, machine="q35", hostpci0="mapping=a100-0,pcie=1")
    assert await campus.token.task("POST", f"{QEMU}/100/status/start") == "OK"

    refusal = await campus.token.task("POST", f"{QEMU}/101/status/start")

    assert "PCI device mapping 'a100-0'" in refusal
    assert "PCI device '0000:41:00.0' already in use by VMID '100'" in refusal
    await campus.token.task("POST", f"{QEMU}/100/status/stop")
    assert await campus.token.task("POST", f"{QEMU}/101/status/start") == "OK", "a stopped VM gives its device back"


async def test_memory_beyond_what_the_host_has_free_is_refused(campus: Campus) -> None:
    await campus.token.vm(100, memory="40960")
    await campus.token.vm(101, memory="40960")
    assert await campus.token.task("POST", f"{QEMU}/100/status/start") == "OK"

    refusal = await campus.token.task("POST", f"{QEMU}/101/status/start")

    assert "cannot set up guest memory" in refusal
    assert "needs 40960 MiB, node 'pve1' has 23552 MiB free" in refusal


async def test_a_guest_that_switches_itself_off_shows_as_stopped(campus: Campus) -> None:
    await campus.token.vm(machine="q35", hostpci0="mapping=a100-0,pcie=1")
    await campus.token.task("POST", f"{QEMU}/100/status/start")

    await campus.hypervisor.stop(100, force=False)

    assert (await campus.token.get(f"{QEMU}/100/status/current"))["status"] == "stopped"
    await campus.token.put(f"{QEMU}/100/config", memory="8192")
    current = await campus.token.get(f"{QEMU}/100/config", current=1)
    assert current["memory"] == "8192", "nothing is pending for a machine that is off"
    await campus.token.vm(101, machine="q35", hostpci0="mapping=a100-0,pcie=1")
    assert await campus.token.task("POST", f"{QEMU}/101/status/start") == "OK", "its device is free"


async def test_a_machine_that_does_not_boot_fails_its_task_and_holds_nothing(campus: Campus) -> None:
    await campus.token.vm(machine="q35", hostpci0="mapping=a100-0,pcie=1")
    campus.hypervisor.broken.add(100)

    assert "does not boot" in await campus.token.task("POST", f"{QEMU}/100/status/start")
    assert campus.px.cluster.state.vms[100].devices == []


async def test_the_agent_answers_for_a_running_guest_only(campus: Campus) -> None:
    await campus.token.vm(agent="1")
    with pytest.raises(Refused, match="VM 100 is not running"):
        await campus.token.post(f"{QEMU}/100/agent/ping")

    await campus.token.task("POST", f"{QEMU}/100/status/start")
    campus.hypervisor.files["/etc/ssh/ssh_host_ed25519_key.pub"] = "ssh-ed25519 AAAA host\n"

    assert await campus.token.post(f"{QEMU}/100/agent/ping") == {"result": {}}
    key = await campus.token.get(f"{QEMU}/100/agent/file-read", file="/etc/ssh/ssh_host_ed25519_key.pub")
    assert key == {"content": "ssh-ed25519 AAAA host\n"}
    with pytest.raises(Refused, match="No such file or directory"):
        await campus.token.get(f"{QEMU}/100/agent/file-read", file="/nothing")


async def test_a_vm_without_an_agent_is_not_asked(campus: Campus) -> None:
    await campus.token.vm()
    await campus.token.task("POST", f"{QEMU}/100/status/start")
    with pytest.raises(Refused, match="No QEMU guest agent configured"):
        await campus.token.post(f"{QEMU}/100/agent/ping")


async def test_a_full_storage_refuses_an_import_and_says_what_it_lacks(campus: Campus) -> None:
    await with_image(campus)
    campus.px.faults.conditions.ballast = {"pve1/local-lvm": 499}

    refusal = await campus.token.task(
        "POST", QEMU, vmid=100, pool="lyceum", scsi0="local-lvm:0,import-from=local:import/debian-13.qcow2"
    )

    assert refusal.endswith("of node 'pve1': need 3.0 GiB, have 1.0 GiB")
    assert campus.px.cluster.state.vms == {}
