"""Which privilege each route asks for, as data.

Read from the `permissions` of each method in the sources of Proxmox VE 9: pve-manager of 2026-08-21, qemu-server of
2026-08-17, pve-storage of 2026-07-24, pve-access-control of 2026-05-15. Where those say "user: all" the handler filters
or checks by itself, because the check depends on values; such routes are listed as `ANYONE` with the reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.proxmox.call import Call
from lab.proxmox.errors import ApiError, permission_denied
from lab.proxmox.privileges import Access


@dataclass(frozen=True)
class Everybody:
    """No privilege is asked for; `signed_in` tells whether a valid ticket or token is."""

    signed_in: bool


@dataclass(frozen=True)
class Perm:
    """Privileges on a path whose placeholders come from the route or the parameters."""

    path: str
    privileges: tuple[str, ...]
    any_of: bool = False


@dataclass(frozen=True)
class Own:
    """The caller acts on their own account: the user named by `userid` is the user of the ticket."""


@dataclass(frozen=True)
class Granting:
    """The right to change the access control list at the parameter `path`."""


@dataclass(frozen=True)
class AllOf:
    """Every part must hold."""

    parts: "tuple[Rule, ...]"


@dataclass(frozen=True)
class AnyOf:
    """One part must hold."""

    parts: "tuple[Rule, ...]"


Rule = Everybody | Perm | Own | Granting | AllOf | AnyOf

WORLD = Everybody(signed_in=False)
ANYONE = Everybody(signed_in=True)


def _node(*privileges: str) -> Perm:
    return Perm("/nodes/{node}", privileges)


def _vm(*privileges: str, any_of: bool = False) -> Perm:
    return Perm("/vms/{vmid}", privileges, any_of)


def _agent(privilege: str) -> Perm:
    return _vm(privilege, "VM.GuestAgent.Unrestricted", any_of=True)


def _storage(*privileges: str) -> Perm:
    return Perm("/storage/{storage}", privileges, any_of=len(privileges) > 1)


_SEE_STORAGE = _storage("Datastore.Audit", "Datastore.AllocateSpace")
_CLUSTER_AUDIT = Perm("/", ("Sys.Audit",))
_DOWNLOAD = AnyOf((Perm("/", ("Sys.Audit", "Sys.Modify")), _node("Sys.AccessNetwork")))
_USERS = Perm("/access/groups", ("User.Modify",))
_REALM = Perm("/access/realm/{realm}", ("Realm.AllocateUser",))
_ROLES = Perm("/access", ("Sys.Modify",))
_POOL = Perm("/pool/{poolid}", ("Pool.Allocate",))
_CONFIG = _vm(
    "VM.Config.Disk",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.HWType",
    "VM.Config.Options",
    "VM.Config.Cloudinit",
    any_of=True,
)
_QEMU = "nodes/{node}/qemu"
_STORE = "nodes/{node}/storage"
_TOKENS = "access/users/{userid}/token"

RULES: Mapping[tuple[str, str], Rule] = {
    ("POST", "access/ticket"): WORLD,
    ("GET", "access/permissions"): ANYONE,  # own permissions; others' with Sys.Audit on /access
    ("POST", "access/users"): AllOf((_REALM, _USERS)),
    ("GET", _TOKENS): AnyOf((Own(), _USERS)),
    ("POST", _TOKENS + "/{tokenid}"): AnyOf((Own(), _USERS)),
    ("DELETE", _TOKENS + "/{tokenid}"): AnyOf((Own(), _USERS)),
    ("POST", "access/roles"): _ROLES,
    ("PUT", "access/roles/{roleid}"): _ROLES,
    ("PUT", "access/acl"): Granting(),
    ("GET", "version"): ANYONE,
    ("GET", "cluster/status"): _CLUSTER_AUDIT,
    ("GET", "cluster/resources"): ANYONE,  # filtered
    ("GET", "cluster/nextid"): ANYONE,
    ("GET", "cluster/mapping/pci"): ANYONE,  # filtered
    ("POST", "cluster/mapping/pci"): Perm("/mapping/pci", ("Mapping.Modify",)),
    ("GET", "cluster/mapping/pci/{id}"): Perm(
        "/mapping/pci/{id}", ("Mapping.Use", "Mapping.Modify", "Mapping.Audit"), any_of=True
    ),
    ("PUT", "cluster/mapping/pci/{id}"): Perm("/mapping/pci/{id}", ("Mapping.Modify",)),
    ("DELETE", "cluster/mapping/pci/{id}"): Perm("/mapping/pci", ("Mapping.Modify",)),
    ("GET", "pools"): ANYONE,  # filtered by Pool.Audit
    ("POST", "pools"): _POOL,
    ("PUT", "pools"): _POOL,  # members need the right to change permissions on them too
    ("GET", "nodes"): ANYONE,  # figures only with Sys.Audit on the node
    ("GET", "nodes/{node}/status"): _node("Sys.Audit"),
    ("GET", "nodes/{node}/time"): _node("Sys.Audit"),
    ("GET", "nodes/{node}/dns"): _node("Sys.Audit"),
    ("GET", "nodes/{node}/hardware/pci"): Perm("/", ("Sys.Audit", "Sys.Modify"), any_of=True),
    ("GET", "nodes/{node}/query-url-metadata"): _DOWNLOAD,
    ("GET", "nodes/{node}/network"): ANYONE,
    ("GET", "nodes/{node}/tasks"): ANYONE,  # own tasks; all with Sys.Audit on the node
    ("GET", "nodes/{node}/tasks/{upid}/status"): ANYONE,
    ("GET", "nodes/{node}/tasks/{upid}/log"): ANYONE,
    ("GET", _STORE): ANYONE,  # filtered
    ("GET", _STORE + "/{storage}/content"): _SEE_STORAGE,
    ("GET", _STORE + "/{storage}/content/{volume}"): ANYONE,  # read access to the volume
    ("POST", _STORE + "/{storage}/download-url"): AllOf((_storage("Datastore.AllocateTemplate"), _DOWNLOAD)),
    ("POST", _QEMU): ANYONE,  # VM.Allocate on the VM or its pool, then by option
    ("DELETE", _QEMU + "/{vmid}"): _vm("VM.Allocate"),
    ("GET", _QEMU + "/{vmid}/config"): _vm("VM.Audit"),
    ("PUT", _QEMU + "/{vmid}/config"): _CONFIG,  # then by option
    ("PUT", _QEMU + "/{vmid}/cloudinit"): _vm("VM.Config.Cloudinit"),
    ("PUT", _QEMU + "/{vmid}/resize"): _vm("VM.Config.Disk"),
    ("POST", _QEMU + "/{vmid}/move_disk"): _vm("VM.Config.Disk"),
    ("GET", _QEMU + "/{vmid}/status/current"): _vm("VM.Audit"),
    ("POST", _QEMU + "/{vmid}/status/start"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/status/stop"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/status/shutdown"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/status/reboot"): _vm("VM.PowerMgmt"),
    ("POST", _QEMU + "/{vmid}/agent/ping"): _agent("VM.GuestAgent.Audit"),
    ("GET", _QEMU + "/{vmid}/agent/network-get-interfaces"): _agent("VM.GuestAgent.Audit"),
    ("GET", _QEMU + "/{vmid}/agent/file-read"): _agent("VM.GuestAgent.FileRead"),
}
"""Method and route pattern to what it asks for. A test holds that every route has a rule and every rule a route."""


def check_rule(rule: Rule, call: Call, access: Access) -> None:
    """Raise `ApiError` 403 when the caller does not satisfy the rule."""
    match rule:
        case Everybody():
            return
        case Perm(path, privileges, any_of):
            access.require(call.identity, _fill(path, call), *privileges, any_of=any_of)
        case Own():
            # A token is not its user: it may not create further tokens or read the user's.
            if call.identity.name != _userid(call):
                raise permission_denied("user is not " + _userid(call))
        case Granting():
            if not access.may_grant(call.identity, call.required("path")):
                raise permission_denied(f"{call.text('path')}, Permissions.Modify")
        case AllOf(parts):
            for part in parts:
                check_rule(part, call, access)
        case AnyOf(parts):
            _check_any(parts, call, access)


def _check_any(parts: tuple[Rule, ...], call: Call, access: Access) -> None:
    def holds(part: Rule) -> bool:
        try:
            check_rule(part, call, access)
        except ApiError:
            return False
        return True

    if not any(holds(part) for part in parts):
        check_rule(parts[-1], call, access)


def _userid(call: Call) -> str:
    return call.names.get("userid") or call.text("userid")


_DERIVED: Mapping[str, Callable[[Call], str]] = {
    "{realm}": lambda call: _userid(call).rpartition("@")[2],
    "{poolid}": lambda call: call.text("poolid", "-"),
}


def _fill(path: str, call: Call) -> str:
    for name, value in call.names.items():
        path = path.replace("{" + name + "}", value)
    for placeholder, value_of in _DERIVED.items():
        if placeholder in path:
            path = path.replace(placeholder, value_of(call))
    return path
