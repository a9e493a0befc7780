"""The Proxmox VE 9 API of the embedded campus: stateful, with tasks, privileges and faults; it boots real lab machines.

`create_app` builds it, `serve.build_server` puts it behind TLS 1.3, `fake.FakeHypervisor` stands in for machines in tests.

What it holds to: the calls of the bpg provider and of Lyceum's own checks, their JSON types, their errors' words;
Proxmox VE 9's privileges for each route, option, storage, bridge and mapping, for users, groups and separated tokens;
tasks, locks, pending changes, PCI passthrough by mapping, memory and IOMMU groups at start. Calls beyond that answer 501.

What it does not show: HA, clones, migrations and snippets, which Lyceum does not use; storages keep sizes but no content
(every imported image becomes a disk of 3 GiB), memory is never overcommitted (real nodes do for VMs without passthrough),
and hot-plug is all or nothing (network and disks live, the rest at the next start).
"""

from lab.proxmox.proxmox import Proxmox, create_app

__all__ = ["Proxmox", "create_app"]
