"""What the administrator of a Proxmox VE cluster sets up once for Lyceum, as a list of API calls.

The privileges are the least that the program needs: nothing on `/`, nothing that reaches another tenant's VMs. They are
granted to the user and to its privilege-separated token, because such a token holds what both hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from config import proxmox_grants
from lab.contracts import LabSpec
from lab.proxmox import pci

__all__ = ["ROLES", "TOKEN_NAME", "SetupCall", "after_token", "before_token", "grants", "token_call"]

TOKEN_NAME = "lyceum"  # noqa: S105  # the name of the token, not its secret
"""Second part of `lyceum@pve!lyceum`."""

ROLES = {role: privileges for role, privileges in proxmox_grants.ROLES.items() if role != "LyceumMapper"}
"""The lab's administrator makes the mappings himself, so nobody is given the role that may."""


@dataclass(frozen=True)
class SetupCall:
    """One call of the set-up."""

    method: str
    path: str
    params: Mapping[str, str | tuple[str, ...]]
    """Tuples are sent as repeated parameters."""
    update: "SetupCall | None" = None
    """What to do instead when the call answers that the thing already exists; None: nothing."""


def token_call(spec: LabSpec) -> SetupCall:
    """The call that mints the token; its answer holds the secret, once."""
    return SetupCall("POST", f"access/users/{spec.token_user}/token/{TOKEN_NAME}", {"privsep": "1"})


def before_token(spec: LabSpec) -> tuple[SetupCall, ...]:
    """Pool, user, roles and mappings."""
    calls = [
        SetupCall("POST", "pools", {"poolid": spec.pool, "comment": "Machines made by Lyceum"}),
        SetupCall("POST", "access/users", {"userid": spec.token_user, "comment": "Lyceum"}),
    ]
    for role, privileges in ROLES.items():
        sent = {"privs": ",".join(privileges)}
        replace = SetupCall("PUT", f"access/roles/{role}", sent)
        calls.append(SetupCall("POST", "access/roles", {"roleid": role, **sent}, update=replace))
    for mapping in spec.mappings:
        entries = {"map": tuple(pci.entry_of(mapping.node, device) for device in mapping.devices)}
        replace = SetupCall("PUT", f"cluster/mapping/pci/{mapping.name}", entries)
        calls.append(SetupCall("POST", "cluster/mapping/pci", {"id": mapping.name, **entries}, update=replace))
    return tuple(calls)


def after_token(spec: LabSpec) -> tuple[SetupCall, ...]:
    """The access control list, for the user and for the token."""
    token = f"{spec.token_user}!{TOKEN_NAME}"
    return tuple(
        SetupCall(
            "PUT",
            "access/acl",
            {"path": path, "roles": role, "users": spec.token_user, "tokens": token, "propagate": "1"},
        )
        for path, role in grants(spec)
    )


def grants(spec: LabSpec) -> tuple[tuple[str, str], ...]:
    """Path and role of every grant, each once, in order."""
    found = [(f"/pool/{spec.pool}", "Lyceum")]
    for node in spec.nodes:
        found.append((f"/nodes/{node.name}", "LyceumNode"))
        for storage in node.storages:
            if "images" in storage.content:
                found.append((f"/storage/{storage.name}", "LyceumDisks"))
            if {"import", "iso"} & set(storage.content):
                found.append((f"/storage/{storage.name}", "LyceumImages"))
        found += [(f"/sdn/zones/localnetwork/{bridge}", "LyceumBridge") for bridge in node.bridges]
    found += [(f"/mapping/pci/{mapping.name}", "LyceumDevice") for mapping in spec.mappings]
    return tuple(dict.fromkeys(found))
