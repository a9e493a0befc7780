"""VMs and campuses by hand, for the tests of the hosts."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from lab.contracts import Disk, LabSpec, Nic, PciDevice, PveNode, Storage, VmSpec
from tests.lab.proxmox.campus import make_setup

A100 = PciDevice("0000:41:00.0", "10de", "20f1", "10de", "145f", 41, "030200", "NVIDIA A100 PCIE 40GB")

NODE = PveNode(
    name="pve1",
    address="10.21.0.11",
    cpus=64,
    memory_mib=262144,
    pci=(A100,),
    storages=(
        Storage("local-lvm", "lvmthin", ("images", "rootdir"), 8192),
        Storage("local", "dir", ("import", "iso", "snippets"), 200),
    ),
    bridges=("vmbr0",),
    disk_gib=8192,
)

CAMPUS = LabSpec(
    name="host-test",
    cidr=IPv4Network("10.21.0.0/16"),
    gateway=IPv4Address("10.21.0.1"),
    nodes=(NODE,),
    mirror=IPv4Address("10.21.0.2"),
    setup=make_setup({}),
)


def vm(number: int = 1, **changes: object) -> VmSpec:
    """A VM like those of the lab site: one card, a GPU, a data disk, the user `lyceum`."""
    spec = VmSpec(
        vmid=1000 + number,
        name=f"vm-{number}",
        node="pve1",
        cores=4,
        memory_mib=8192,
        nics=(Nic(f"02:4c:0a:15:01:{number:02x}", "vmbr0", None, f"10.21.1.{number}/16", "10.21.0.1"),),
        dns=("10.21.0.1",),
        search="lab.example",
        user="lyceum",
        ssh_keys=("ssh-ed25519 AAAA lyceum",),
        disks=(Disk("scsi0", 10, None, boot=True), Disk("scsi1", 20, "ceph-1", boot=False)),
        gpus=(A100,),
        agent=True,
    )
    return replace(spec, **changes)  # type: ignore[arg-type]  # a test's own words
