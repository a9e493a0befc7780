"""The Proxmox VE 9 API of the embedded campus: stateful, with tasks, privileges and faults; machines are elsewhere's.

`create_app` builds it; `serve.server` puts it behind TLS 1.3.
"""

from lab.proxmox.proxmox import Proxmox, create_app

__all__ = ["Proxmox", "create_app"]
