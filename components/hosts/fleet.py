"""All virtual machines of a site that are in service."""

import shlex
from dataclasses import dataclass
from typing import ClassVar

import pulumi
import pulumi_proxmoxve as px
from pulumi_command import local

from components.base import Component
from components.handles import NodeHandle
from components.hosts.vm import virtual_machine
from config.hosts import Mappings, Node, Role
from config.resource_names import Part, resource_name
from config.site import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetArgs:
    """Arguments of a fleet.

    Attributes:
        site: The campus.
        nodes: The machines to create.
        ssh_key: Line of authorized_keys for every machine.
        proxmox_token: API token, secret.
    """

    site: Site
    nodes: tuple[Node, ...]
    ssh_key: pulumi.Input[str]
    proxmox_token: pulumi.Input[str]


class Fleet(Component):
    """Virtual machines with their GPUs, started, with known SSH host keys.

    Creates: the image on each host; the VM of each machine and, where Lyceum logs in, a command that reads its SSH host
    key; a PCI mapping for each machine with GPUs if `proxmox.mappings` is `managed`.
    Waits for: the guest agents of those machines, at most five minutes each.
    Secret: the API token is in the environment of the commands, never in an argument.
    """

    TOKEN: ClassVar[str] = "lyceum:hosts:Fleet"  # noqa: S105 - a type token
    machines: tuple[NodeHandle, ...]
    """Members of the cluster, in the order of the site's file."""
    maintenance: tuple[NodeHandle, ...]
    """The maintenance machines, outside the cluster."""

    def __init__(self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._args = args
        images = {host: self._image(host) for host in sorted({node.host for node in args.nodes})}
        machines = []
        for node in args.nodes:
            mapping = [self._mapping(node)] if node.gpus and args.site.proxmox.mappings is Mappings.MANAGED else []
            vm = virtual_machine(
                node, args.site, images[node.host].stdout, args.ssh_key, self.child(depends_on=mapping)
            )
            if node.in_cluster or node.role is Role.MAINTENANCE:
                machines.append(NodeHandle(spec=node, host_key=self._host_key(node, vm)))
        self.machines = tuple(machine for machine in machines if machine.spec.in_cluster)
        self.maintenance = tuple(machine for machine in machines if not machine.spec.in_cluster)
        self.register_outputs({"machines": [machine.spec.name for machine in machines]})

    def _proxmox_command(self, name: str, arguments: str, *triggers: pulumi.Input[object]) -> local.Command:
        proxmox = self._args.site.proxmox
        return local.Command(
            name,
            create=f"python3 components/hosts/pve.py {arguments}",
            environment={
                "PVE_ENDPOINT": str(proxmox.endpoint),
                "PVE_TOKEN": self._args.proxmox_token,
                "PVE_CA": str(proxmox.ca_file or ""),
            },
            triggers=list(triggers) or None,
            logging=local.Logging.STDERR,
            opts=self.child(),
        )

    def _image(self, host: str) -> local.Command:
        proxmox = self._args.site.proxmox
        image = proxmox.image
        arguments = [host, proxmox.image_storage, image.file_name, str(image.url), image.sha512 or ""]
        return self._proxmox_command(resource_name(host, Part.IMAGE), shlex.join(["image", *filter(None, arguments)]))

    def _host_key(self, node: Node, vm: px.VmLegacy) -> pulumi.Output[str]:
        # The trigger: after a replacement the key is read again, although VMID and name stay the same.
        arguments = f"host-key {node.host} {node.vm_id}"
        return self._proxmox_command(resource_name(node.name, Part.HOST_KEY), arguments, vm.vm_id).stdout

    def _mapping(self, node: Node) -> px.hardware.mapping.Pci:
        return px.hardware.mapping.Pci(
            resource_name(node.name, Part.GPUS),
            name=node.mapping,
            comment=f"GPUs of {node.name}",
            maps=[
                px.hardware.mapping.PciMapArgs(
                    id=gpu.card.id,
                    node=node.host,
                    path=gpu.pci,
                    iommu_group=gpu.iommu_group,
                    subsystem_id=gpu.subsystem,
                )
                for gpu in node.gpus
            ],
            opts=self.child(),
        )
