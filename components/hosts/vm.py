"""One virtual machine, with every option that decides whether an update changes it in place, restarts or replaces it."""

import pulumi
import pulumi_proxmoxve as px

from config.base import MIB_PER_GIB, format_size
from config.hosts import Node, Role, Shift
from config.key_derivation import USER
from config.resource_names import Part, resource_name
from config.site import Site


def to_gib(mib: int) -> int:
    """MiB to GiB; Proxmox sizes disks in whole GiB.

    Raises:
        ValueError: it is not a whole number of GiB.
    """
    if mib % MIB_PER_GIB:
        raise ValueError(f"a disk of {format_size(mib)} is not a whole number of GiB")
    return mib // MIB_PER_GIB


def vm_disks(node: Node, storage: str, image: pulumi.Input[str]) -> list[px.VmLegacyDiskArgs]:
    """The system disk, then scratch and Ceph disks; the serials make /dev/disk/by-id stable."""
    sizes = [("system", node.shape.disk), ("scratch", node.shape.scratch), ("ceph", node.shape.ceph)]
    return [
        px.VmLegacyDiskArgs(
            interface=f"scsi{index}",
            datastore_id=storage,
            import_from=image if serial == "system" else None,
            size=to_gib(size),
            serial=serial,
            iothread=True,
            discard="on",
            ssd=True,
            file_format="raw",
            backup=serial == "system",
        )
        for index, (serial, size) in enumerate((serial, size) for serial, size in sizes if size)
    ]


def virtual_machine(
    node: Node, site: Site, image: pulumi.Input[str], ssh_key: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> px.VmLegacy:
    """Declares one VM, protected against deletion (`protect`), and started unless its host's owner has it by the calendar.

    A card and its host's memory have one owner at a time. Nothing follows the calendar yet: of two machines that take turns
    the cluster's is started, the owners' is made and stays off, and afterwards their power is whoever's who hands over.

    Memory is fixed (no balloon) because passthrough pins it anyway. A change that needs a power cycle fails instead of
    rebooting a machine with running jobs. With the bridge's default CD-ROM a q35 machine does not start, hence `cdrom`.
    """
    storage = site.proxmox.vm_storage
    volumes = vm_disks(node, storage, image)
    network = site.network
    return px.VmLegacy(
        resource_name(node.name, Part.VM),
        node_name=node.host,
        vm_id=node.vm_id,
        name=node.name,
        description=f"{site.title}: {node.role}. Made by Lyceum; change it there.",
        pool_id=site.proxmox.pool,
        tags=sorted({"lyceum", site.name, node.role.value}),
        machine="q35",
        bios="ovmf",
        efi_disk=px.VmLegacyEfiDiskArgs(datastore_id=storage, type="4m", pre_enrolled_keys=False, file_format="raw"),
        cdrom=px.VmLegacyCdromArgs(interface="ide0", file_id="none"),
        boot_orders=["scsi0"],
        operating_system=px.VmLegacyOperatingSystemArgs(type="l26"),
        scsi_hardware="virtio-scsi-single",
        serial_devices=[px.VmLegacySerialDeviceArgs(device="socket")],
        vga=px.VmLegacyVgaArgs(type="virtio") if node.role is Role.DESKTOP else None,
        cpu=px.VmLegacyCpuArgs(cores=node.shape.cores, type="host"),
        memory=px.VmLegacyMemoryArgs(dedicated=node.shape.memory, floating=0),
        agent=px.VmLegacyAgentArgs(enabled=True, wait_for_ip=px.VmLegacyAgentWaitForIpArgs(disabled=True)),
        disks=volumes,
        hostpcis=[
            px.VmLegacyHostpciArgs(device=f"hostpci{index}", mapping=node.mapping, pcie=True, rombar=True)
            for index, _ in enumerate(node.gpus)
        ],
        network_devices=[
            px.VmLegacyNetworkDeviceArgs(
                bridge=network.bridge, mac_address=node.mac.upper(), vlan_id=network.vlan, mtu=network.mtu
            )
        ],
        initialization=px.VmLegacyInitializationArgs(
            datastore_id=storage,
            ip_configs=[
                px.VmLegacyInitializationIpConfigArgs(
                    ipv4=px.VmLegacyInitializationIpConfigIpv4Args(
                        address=f"{node.address}/{network.cidr.prefixlen}", gateway=str(network.gateway)
                    )
                )
            ],
            dns=px.VmLegacyInitializationDnsArgs(
                servers=[str(server) for server in network.dns], domain=network.search or site.domain
            ),
            user_account=px.VmLegacyInitializationUserAccountArgs(username=USER, keys=[ssh_key]),
        ),
        started=False if node.shift is Shift.OWNERS else None,
        on_boot=node.shift is not Shift.OWNERS,
        migrate=False,
        stop_on_destroy=True,
        timeout_create=1800,
        timeout_stop_vm=300,
        reboot_after_update=False,
        delete_unreferenced_disks_on_destroy=False,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                protect=True,
                delete_before_replace=True,
                # Cloud-init runs once; `speed` shows a false difference (pulumi-proxmoxve#35).
                ignore_changes=[
                    "initialization",
                    *(f"disks[{index}].speed" for index, _ in enumerate(volumes)),
                    *(["started"] if node.shift is not Shift.ALWAYS else []),
                ],
            ),
        ),
    )
