"""What the administrator of a Proxmox VE cluster sets up once for a site, as API calls and as commands. Pure.

The privileges are the least that Lyceum needs (Proxmox VE 9; on 8, VM.Monitor stands for the VM.GuestAgent ones): nothing
on `/`, nothing that reaches other VMs. The user and its privilege-separated token both get them, because such a
token has the intersection of both.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from config.gpus import Gpu
from config.hosts import Mappings, Node
from config.site import Site

USER = "lyceum@pve"
TOKEN_NAME = "lyceum"  # noqa: S105 - the name of the token, not its secret
TOKEN = f"{USER}!{TOKEN_NAME}"

ROLES: Mapping[str, tuple[str, ...]] = {
    "Lyceum": (
        "Pool.Audit",
        "VM.Allocate",
        "VM.Audit",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Cloudinit",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
        "VM.GuestAgent.Audit",
        "VM.GuestAgent.FileRead",
        "VM.PowerMgmt",
    ),
    "LyceumDisks": ("Datastore.AllocateSpace", "Datastore.Audit"),
    "LyceumImages": ("Datastore.AllocateTemplate", "Datastore.Audit"),
    "LyceumNode": ("Sys.AccessNetwork", "Sys.Audit"),
    "LyceumBridge": ("SDN.Use",),
    "LyceumDevice": ("Mapping.Audit", "Mapping.Use"),
    "LyceumMapper": ("Mapping.Audit", "Mapping.Modify", "Mapping.Use"),
}
"""One role for each kind of path, so that each privilege is granted only where it applies."""


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One API call of the setup.

    Attributes:
        method: `POST` or `PUT`.
        path: Below `/api2/json/`.
        params: Parameters; tuples are repeated ones.
        update: Call to make instead if the object already exists; None: no call.
    """

    method: str
    path: str
    params: Mapping[str, str | tuple[str, ...]]
    update: "ApiCall | None" = None


def required_grants(site: Site) -> tuple[tuple[str, str], ...]:
    """Path and role of every grant."""
    proxmox = site.proxmox
    found = [(f"/pool/{proxmox.pool}", "Lyceum")]
    found += [(f"/nodes/{node.host}", "LyceumNode") for node in site.machines]
    found += [(f"/storage/{proxmox.vm_storage}", "LyceumDisks"), (f"/storage/{proxmox.image_storage}", "LyceumImages")]
    found.append((f"/sdn/zones/localnetwork/{site.network.bridge}", "LyceumBridge"))
    if proxmox.mappings is Mappings.MANAGED:
        found.append(("/mapping/pci", "LyceumMapper"))
    else:
        found += [(f"/mapping/pci/{node.mapping}", "LyceumDevice") for node in site.machines if node.gpus]
    return tuple(dict.fromkeys(found))


def mapping_entry(host: str, gpu: Gpu) -> str:
    """Entry of a PCI mapping for a card."""
    options = {
        "id": gpu.card.id,
        "iommugroup": str(gpu.iommu_group),
        "node": host,
        "path": gpu.pci,
        "subsystem-id": gpu.subsystem,
    }
    return ",".join(f"{key}={value}" for key, value in options.items() if value)


def _mapping_call(node: Node) -> ApiCall:
    entries = {"map": tuple(mapping_entry(node.host, gpu) for gpu in node.gpus)}
    update = ApiCall("PUT", f"cluster/mapping/pci/{node.mapping}", entries)
    return ApiCall("POST", "cluster/mapping/pci", {"id": node.mapping, **entries}, update)


def token_call() -> ApiCall:
    """The call that creates the token; only its answer contains the secret."""
    return ApiCall("POST", f"access/users/{USER}/token/{TOKEN_NAME}", {"privsep": "1"})


def calls_before_token(site: Site) -> tuple[ApiCall, ...]:
    """Calls that create pool, user, roles and mappings."""
    used = {role for _, role in required_grants(site)}
    calls = [
        ApiCall("POST", "pools", {"poolid": site.proxmox.pool, "comment": f"Machines of {site.title}"}),
        ApiCall("POST", "access/users", {"userid": USER, "comment": "Lyceum"}),
    ]
    for role, privileges in ROLES.items():
        if role in used:
            sent = {"privs": ",".join(privileges)}
            update = ApiCall("PUT", f"access/roles/{role}", sent)
            calls.append(ApiCall("POST", "access/roles", {"roleid": role, **sent}, update))
    if site.proxmox.mappings is Mappings.EXISTING:
        calls += [_mapping_call(node) for node in site.machines if node.gpus]
    return tuple(calls)


def calls_after_token(site: Site) -> tuple[ApiCall, ...]:
    """Calls that set the access control list, for the user and for the token."""
    return tuple(
        ApiCall("PUT", "access/acl", {"path": path, "roles": role, "users": USER, "tokens": TOKEN, "propagate": "1"})
        for path, role in required_grants(site)
    )


def grant_command(path: str, role: str) -> str:
    """The command that grants a role on a path to the user and to its token."""
    return shlex.join(["pveum", "acl", "modify", path, "--roles", role, "--users", USER, "--tokens", TOKEN])


def setup_commands(site: Site) -> list[str]:
    """The same as `pveum` and `pvesh` commands, to be run once as root on any node of the cluster."""
    pool = site.proxmox.pool
    used = {role for _, role in required_grants(site)}
    lines = [
        shlex.join(["pveum", "pool", "add", pool, "--comment", f"Machines of {site.title}"]),
        shlex.join(["pveum", "user", "add", USER, "--comment", "Lyceum"]),
    ]
    for role, privileges in ROLES.items():
        if role in used:
            lines.append(shlex.join(["pveum", "role", "add", role, "--privs", " ".join(privileges)]))
    if site.proxmox.mappings is Mappings.EXISTING:
        for node in site.machines:
            if node.gpus:
                maps = [part for gpu in node.gpus for part in ("--map", mapping_entry(node.host, gpu))]
                lines.append(shlex.join(["pvesh", "create", "/cluster/mapping/pci", "--id", node.mapping, *maps]))
    lines.append(shlex.join(["pveum", "user", "token", "add", USER, TOKEN_NAME, "--privsep", "1"]))
    return [*lines, *(grant_command(path, role) for path, role in required_grants(site))]
